"""The live dashboard: a Panel app over what the tracker tells. It needs only the broker's address.

`app.py` is what is served, `model.py` what is shown (without Bokeh), `feed.py` the one poller of a server, and `views/`
draws, a module each.
"""
