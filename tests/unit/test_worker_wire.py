from hypothesis import given
from hypothesis import strategies as st

from workbench.worker.wire import FrameReader, pack


@given(st.lists(st.binary(max_size=200), max_size=20), st.lists(st.integers(1, 50), min_size=1))
def test_frames_come_out_as_they_went_in_however_the_stream_is_chopped(frames: list[bytes], cuts: list[int]) -> None:
    stream = b"".join(map(pack, frames))
    reader, out, at, turn = FrameReader(), [], 0, 0
    while at < len(stream):
        size = cuts[turn % len(cuts)]
        out += reader.feed(stream[at : at + size])
        at += size
        turn += 1
    assert out == frames
