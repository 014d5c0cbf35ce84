"""What notebooks show: rich forms of the objects that users hold. But for the dashboard, nothing else knows IPython."""
