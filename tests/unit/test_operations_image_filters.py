import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageFilter

from tests.unit.image_samples import MODES, SRGB, chelsea, images, same, sample
from workbench.core.errors import InvalidArguments
from workbench.operations.image import filters

NAMES = {
    "blur": ImageFilter.BLUR(),
    "contour": ImageFilter.CONTOUR(),
    "detail": ImageFilter.DETAIL(),
    "edge_enhance": ImageFilter.EDGE_ENHANCE(),
    "edge_enhance_more": ImageFilter.EDGE_ENHANCE_MORE(),
    "emboss": ImageFilter.EMBOSS(),
    "find_edges": ImageFilter.FIND_EDGES(),
    "sharpen": ImageFilter.SHARPEN(),
    "smooth": ImageFilter.SMOOTH(),
    "smooth_more": ImageFilter.SMOOTH_MORE(),
    "gaussian_blur": ImageFilter.GaussianBlur(),
    "box_blur": ImageFilter.BoxBlur(2),
    "unsharp_mask": ImageFilter.UnsharpMask(),
    "median_filter": ImageFilter.MedianFilter(),
    "min_filter": ImageFilter.MinFilter(),
    "max_filter": ImageFilter.MaxFilter(),
    "mode_filter": ImageFilter.ModeFilter(),
}
WEIGHTS = [0.5, 1, 0, 1, 4, 1, 0, 1, -0.5]
MADE_OF = {"1": "L", "P": "RGB", "PA": "RGBA", "I;16B": "I;16"}
WITHOUT_ALPHA = {"LA": "L", "RGBA": "RGB"}


def test_every_filter_of_the_signature_is_known_and_every_one_of_pillow_is_in_it():
    assert set(filters._FILTERS) == {*NAMES, "rank_filter", "kernel"}
    assert set(filters._FILTERS) == set(filters.Filter.__args__)  # type: ignore[attr-defined]


@given(image=images(("L", "RGB", "CMYK")), name=st.sampled_from(sorted(NAMES)))
def test_a_filtered_image_is_what_pillow_makes(image: Image.Image, name: filters.Filter):
    assert same(filters.filter(image, name), image.filter(NAMES[name]))


@given(image=images(("LA", "RGBA")), name=st.sampled_from(sorted(NAMES)))
def test_alpha_stays_as_it_is(image: Image.Image, name: filters.Filter):
    made = filters.filter(image, name)
    plain = WITHOUT_ALPHA[image.mode]

    assert same(made.getchannel("A"), image.getchannel("A"))
    assert same(made.convert(plain), image.convert(plain).filter(NAMES[name]))


@pytest.mark.parametrize(
    ("name", "options", "filter_"),
    [
        ("gaussian_blur", {"radius": 3.5}, ImageFilter.GaussianBlur(3.5)),
        ("gaussian_blur", {"radius": (3, 0)}, ImageFilter.GaussianBlur((3, 0))),
        ("gaussian_blur", {"radius": 10_000}, ImageFilter.GaussianBlur(10_000)),
        ("box_blur", {"radius": (0, 1.5)}, ImageFilter.BoxBlur((0, 1.5))),
        ("box_blur", {"radius": 0}, ImageFilter.BoxBlur(0)),
        ("unsharp_mask", {"radius": 4, "percent": 80, "threshold": 9}, ImageFilter.UnsharpMask(4, 80, 9)),
        ("median_filter", {"size": 5}, ImageFilter.MedianFilter(5)),
        ("min_filter", {"size": 7}, ImageFilter.MinFilter(7)),
        ("max_filter", {"size": 1}, ImageFilter.MaxFilter(1)),
        ("mode_filter", {"size": 5}, ImageFilter.ModeFilter(5)),
        ("rank_filter", {"rank": 2}, ImageFilter.RankFilter(3, 2)),
        ("rank_filter", {"size": 5, "rank": 24}, ImageFilter.RankFilter(5, 24)),
        ("kernel", {"kernel": WEIGHTS}, ImageFilter.Kernel((3, 3), WEIGHTS)),
        ("kernel", {"kernel": [1] * 25, "scale": 30, "offset": 5}, ImageFilter.Kernel((5, 5), [1] * 25, 30, 5)),
    ],
)
def test_filters_take_pillows_parameters(name: filters.Filter, options: dict[str, object], filter_: ImageFilter.Filter):
    picture = chelsea().resize((90, 60))

    assert same(filters.filter(picture, name, **options), picture.filter(filter_))  # type: ignore[arg-type]


@pytest.mark.parametrize("name", [*NAMES, "kernel", "rank_filter"])
@pytest.mark.parametrize("mode", MODES)
def test_every_mode_is_filtered_or_refused_with_a_cure(mode: str, name: filters.Filter):
    image = sample(mode)
    image.info["icc_profile"] = SRGB
    options = {"kernel": {"kernel": WEIGHTS}, "rank_filter": {"rank": 4}}.get(name, {})
    worked_on = MADE_OF.get(mode, mode)
    if worked_on not in filters._FILTERS[name].modes:
        cure = "L" if mode[0] in "IF" else "RGB"
        with pytest.raises(InvalidArguments, match=f"'{name}' works on L, .*image.convert to mode='{cure}'"):
            filters.filter(image, name, **options)  # type: ignore[arg-type]
    else:
        made = filters.filter(image, name, **options)  # type: ignore[arg-type]
        assert made.mode == worked_on
        assert made.info["icc_profile"] == SRGB


@pytest.mark.parametrize(
    ("mode", "name"), [("I;16", "blur"), ("I", "emboss"), ("I", "median_filter"), ("F", "max_filter")]
)
def test_deep_greys_are_filtered_as_deep_greys(mode: str, name: filters.Filter):
    assert same(filters.filter(sample(mode), name), sample(mode).filter(NAMES[name]))


@pytest.mark.parametrize(
    ("name", "options", "reason"),
    [
        ("blur", {"radius": 2}, "radius: it isn't for the filter 'blur', which takes none"),
        ("median_filter", {"radius": 2}, "which takes size"),
        ("gaussian", {}, "takes one of blur, .*gaussian_blur"),
        ("gaussian_blur", {"radius": -1}, "radius"),
        ("gaussian_blur", {"radius": float("nan")}, "radius"),
        ("box_blur", {"radius": (1, 1e9)}, "radius"),
        ("unsharp_mask", {"radius": (1, 1)}, "one number"),
        ("unsharp_mask", {"percent": -5}, "percent"),
        ("unsharp_mask", {"threshold": 256}, "threshold"),
        ("median_filter", {"size": 4}, "odd"),
        ("mode_filter", {"size": 999}, "to 101"),
        ("rank_filter", {}, "rank: takes 0 to 8"),
        ("rank_filter", {"size": 5, "rank": 25}, "rank: takes 0 to 24"),
        ("kernel", {}, "kernel: takes 9 weights"),
        ("kernel", {"kernel": [1.0] * 4}, "kernel: takes 9 weights"),
        ("kernel", {"kernel": [float("inf")] * 9}, "finite"),
        ("kernel", {"kernel": [0.0] * 9}, "scale"),
        ("kernel", {"kernel": [1.0] * 9, "scale": 0}, "scale"),
    ],
)
def test_what_makes_no_sense_is_refused_with_the_reason(name: filters.Filter, options: dict[str, object], reason: str):
    with pytest.raises(InvalidArguments, match=reason):
        filters.filter(chelsea(), name, **options)  # type: ignore[arg-type]
