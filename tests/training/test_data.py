"""Folders of photos, and the stream of crops made of them."""

import functools
import io
import json
import os

import numpy as np
import pillow_heif
import pytest
from PIL import ExifTags, Image, ImageCms

from wct_jax.pictures.images import load_image, read_image
from wct_jax.pictures.scan import scan
from wct_jax.training.data import Folder, batches, centre_crops


def noise(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def smooth(height, width, seed=0):
    """A photo that survives JPEG and resizing: a few wide blobs of colour."""
    return Image.fromarray(noise(4, 5, 3, seed=seed)).resize((width, height), Image.Resampling.BICUBIC)


def refusal(call, *arguments, **options):
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - Grain adds a note, which a match would see.
        call(*arguments, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.fixture
def photos(tmp_path):
    """Five photos of their own grey level each, whatever is cropped."""
    for level in range(5):
        Image.new("RGB", (40 + level, 50), (40 * level,) * 3).save(tmp_path / f"{level}.png")
    return tmp_path


def levels(batch):
    """Which of the five photos each crop comes from."""
    return [int(crop[0, 0, 0]) // 40 for crop in batch]


class Squares:
    """Photos in memory, each of random pixels, so that every crop tells where it comes from."""

    def __init__(self, *shapes):
        self.photos = []
        for seed, shape in enumerate(shapes):
            file = io.BytesIO()
            Image.fromarray(noise(*shape, 3, seed=seed)).save(file, "PNG")
            self.photos.append((str(seed), file.getvalue()))

    def __len__(self):
        return len(self.photos)

    def __getitem__(self, index):
        return self.photos[index]


def test_a_folder_has_what_a_scan_finds(tmp_path):
    for name in ("a.JPG", "b/a.webp", "b.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        smooth(8, 9).save(tmp_path / name)
    for name in ("README.txt", ".hidden.png", "._a.JPG", "@eaDir/a.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"no photo")
    folder = Folder(tmp_path)
    assert folder.paths == scan(tmp_path).files
    assert [path.relative_to(tmp_path).as_posix() for path in folder.paths] == ["a.JPG", "b/a.webp", "b.png"]
    assert folder.skipped == [f"not named as pictures, and passed over in {tmp_path}: 1 .txt"]
    assert len(folder) == 3
    assert folder[2] == (str(tmp_path / "b.png"), (tmp_path / "b.png").read_bytes())
    assert [path.name for path in Folder(tmp_path / "*.png").paths] == ["b.png"]


@pytest.mark.core
def test_unreadable_photos_are_left_out_and_listed(photos):
    (photos / "0.png").write_bytes(b"")
    (photos / "2.png").write_text("Dear all,")
    (photos / "3.png").unlink()
    (photos / "3.png").symlink_to(photos / "gone")
    os.mkfifo(photos / "5.png")
    folder = Folder(photos)
    assert [path.name for path in folder.paths] == ["1.png", "4.png"]
    assert folder.skipped == [
        f"cannot read {photos / '0.png'}: the file is empty",
        f"{photos / '2.png'} is not a picture Pillow can read",
        f"cannot read {photos / '3.png'}: {os.strerror(2)}",
        f"cannot read {photos / '5.png'}: it is not a regular file",
    ]


@pytest.mark.parametrize(
    ("suffix", "options"),
    [
        *((".jpg", {}), (".jpg", {"progressive": True}), (".jpg", {"subsampling": 0, "restart_marker_blocks": 1})),
        *((".png", {}), (".gif", {}), (".bmp", {})),
        *((".webp", {"lossless": True}), (".tif", {"compression": "tiff_lzw"})),
    ],
)
def test_photos_that_are_cut_short_anywhere_are_left_out(tmp_path, suffix, options):
    whole, cut = tmp_path / f"whole{suffix}", tmp_path / f"cut{suffix}"
    Image.fromarray(noise(90, 120, 3)).save(whole, **options)
    data = whole.read_bytes()
    left_out = []
    for length in (len(data) - 1, len(data) - 3, len(data) - 40, len(data) * 3 // 4, len(data) // 2, len(data) // 10):
        cut.write_bytes(data[:length])
        folder = Folder(tmp_path)
        if cut in folder.paths:  # Nothing but what follows the pixels is missing.
            read_image(cut)
        else:
            left_out.append(length)
            assert len(folder) == len(folder.skipped) == 1
            assert str(cut) in folder.skipped[0]
            assert str(cut) in refusal(read_image, cut)
    assert left_out[-3:] == [len(data) * 3 // 4, len(data) // 2, len(data) // 10]


def test_damaged_photos_of_any_depth_are_left_out(tmp_path):
    variants(tmp_path)
    (tmp_path / "pair.mpo").unlink()  # Cut, it still has its first picture.
    count = len(Folder(tmp_path))
    for path in list(tmp_path.iterdir()):
        data = path.read_bytes()
        (tmp_path / f"cut {path.name}").write_bytes(data[: len(data) * 2 // 3])
    folder = Folder(tmp_path)
    assert len(folder) == len(folder.skipped) == count
    assert all("/cut " in sentence for sentence in folder.skipped)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "I;16", "P"])
def test_photos_that_take_too_much_memory_are_left_out(tmp_path, monkeypatch, mode):
    for side in (20, 90):
        Image.new(mode, (side, side)).save(tmp_path / f"{side}.png", transparency=0 if mode == "P" else None)
    monkeypatch.setattr("wct_jax.training.data._MOST_BYTES", 30_000 if mode in ("RGB", "L") else 200_000)
    folder = Folder(tmp_path)
    assert [path.name for path in folder.paths] == ["20.png"]
    assert folder.skipped[0].startswith(f"{tmp_path / '90.png'}, 90 x 90 pixels, takes 0.0 GiB to decode: expected")


def test_decoding_that_takes_long_is_said_once(photos, monkeypatch):
    said = []
    Folder(photos, said.append)
    assert said == []
    monkeypatch.setattr("wct_jax.training.data._SOON", -1)
    Folder(photos, said.append)
    (sentence,) = said
    assert sentence.startswith(f"decoding the 5 photos of {photos} once, to find damaged ones: ")
    assert sentence.endswith(" s left")


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("missing", None, "cannot read the pictures in {}: there is no such folder"),
        ("file", b"", "cannot read the pictures in {}: it is not a folder"),
        (
            "empty/",
            None,
            "there is no picture in {}: of 0 files in it, hidden ones not counted, none is named as one (",
        ),
        ("texts/a.txt", b"", "there is no picture in {}: of 1 files in it, hidden ones not counted, none is named as"),
        ("broken/a.jpg", b"oh", "no photo in {0} can be read, 1 cannot: {0}/a.jpg is not a picture Pillow can read"),
    ],
)
def test_folders_without_photos(tmp_path, name, content, expected):
    path = tmp_path / name
    (path if name.endswith("/") else path.parent).mkdir(exist_ok=True)
    if content is not None:
        path.write_bytes(content)
    root = tmp_path / name.partition("/")[0]
    assert refusal(Folder, root).startswith(expected.format(root))


def test_heic_is_a_photo(tmp_path):
    pillow_heif.register_heif_opener()
    Image.new("RGB", (32, 48), (200, 100, 50)).save(tmp_path / "a.heic")
    assert Folder(tmp_path).skipped == []
    batch = next(batches(Folder(tmp_path), batch_size=1, crop=16, seed=0))
    np.testing.assert_allclose(batch[0], np.broadcast_to([200, 100, 50], (16, 16, 3)), atol=8)


def test_centre_crops_come_in_order_and_whole_where_the_photo_is_small(tmp_path):
    for name, shape in {"a": (9, 40), "b": (31, 20), "c": (5, 6)}.items():
        Image.fromarray(noise(*shape, 3)).save(tmp_path / f"{name}.png")
    crops = dict(centre_crops(Folder(tmp_path), 10))
    assert [path.name for path in crops] == ["a.png", "b.png", "c.png"]
    middles = np.s_[:9, 15:25], np.s_[10:20, 5:15], np.s_[:5, :6]
    for (path, crop), middle in zip(crops.items(), middles, strict=True):
        assert crop.dtype == np.float32
        np.testing.assert_array_equal(crop, read_image(path)[middle])


def test_each_epoch_has_every_photo_once_in_a_new_order(photos):
    stream = batches(Folder(photos), batch_size=5, crop=8, seed=0)
    epochs = [levels(next(stream)) for _ in range(6)]
    assert all(sorted(epoch) == list(range(5)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) > 1


def test_a_batch_may_be_larger_than_the_folder(photos):
    batch = next(batches(Folder(photos), batch_size=12, crop=8, seed=0))
    assert batch.shape == (12, 8, 8, 3)
    assert batch.dtype == np.uint8
    assert set(levels(batch)) == set(range(5))


def test_a_photo_is_cropped_anew_each_time():
    stream = batches(Squares((60, 90)), batch_size=20, crop=16, seed=0)
    crops = {crop.tobytes() for crop in (*next(stream), *next(stream))}
    assert len(crops) == 40


def test_the_seed_decides():
    first, same, other = (next(batches(Squares((60, 90)), batch_size=4, crop=16, seed=seed)) for seed in (7, 7, 8))
    np.testing.assert_array_equal(first, same)
    assert (first != other).any()


@pytest.mark.core
@pytest.mark.parametrize("threads", [1, 2, 5])
def test_the_stream_goes_on_exactly_from_its_state(threads):
    source = Squares((40, 30), (50, 60), (33, 35))
    stream = batches(source, batch_size=4, crop=16, seed=3)
    seen = [next(stream) for _ in range(5)]
    assert stream.get_state() == {"next_index": 5}
    other = batches(source, batch_size=4, crop=16, seed=3, threads=threads)
    next(other)
    other.set_state(json.loads(json.dumps({"next_index": 2})))
    for batch in seen[2:]:
        np.testing.assert_array_equal(next(other), batch)
    assert other.get_state() == {"next_index": 5}


@pytest.mark.parametrize("count", [2, 3])
def test_the_processes_together_see_the_crops_of_one(count):
    source = Squares((40, 30), (50, 60), (33, 35), (20, 70))
    crops = functools.partial(batches, source, batch_size=6, crop=16, seed=3)
    whole, shares = crops(), [crops(process_index=index, process_count=count) for index in range(count)]
    for _ in range(4):
        together = np.stack([next(share) for share in shares], axis=1).reshape(6, 16, 16, 3)
        np.testing.assert_array_equal(together, next(whole))


def test_a_batch_that_cannot_be_shared(photos):
    sentence = "a batch of 8 cannot be shared evenly by 3 processes"
    assert refusal(batches, Folder(photos), batch_size=8, crop=8, seed=0, process_count=3) == sentence


def found(crop, photo):
    """Where a crop lies in a photo, mirrored or not, as rows, columns and whether it is mirrored."""
    size = len(crop)
    windows = np.lib.stride_tricks.sliding_window_view(photo, (size, size), axis=(0, 1))
    for mirrored in (False, True):
        wanted = crop[:, ::-1] if mirrored else crop
        hits = np.argwhere((windows == wanted.transpose(2, 0, 1)).all(axis=(2, 3, 4)))
        if len(hits):
            return *map(int, hits[0]), mirrored
    raise AssertionError("the crop is not in the photo")


def test_a_crop_is_a_part_of_the_photo_at_any_place_mirrored_or_not():
    # As high as the crop: it is never resized.
    crops = next(batches(Squares((16, 24)), batch_size=200, crop=16, seed=0))
    places = [found(crop, noise(16, 24, 3)) for crop in crops]
    assert {column for _, column, _ in places} == set(range(9))
    assert 60 < sum(mirrored for _, _, mirrored in places) < 140


def test_every_scale_is_as_frequent():
    # Colour rises from left to right: its range within a crop is the part of the width that the crop has.
    ramp = np.broadcast_to(np.linspace(0, 255, 512).astype(np.uint8)[None, :, None], (512, 512, 3))
    file = io.BytesIO()
    Image.fromarray(ramp).save(file, "PNG")
    crops = next(batches([("ramp", file.getvalue())], batch_size=400, crop=32, seed=0))
    sides = np.ptp(crops[..., 0].astype(float), axis=(1, 2)) / 255 * 512
    octaves = np.log2(sides / 32)
    assert octaves.min() > -0.15
    assert octaves.max() < 4.05
    counts, _ = np.histogram(octaves, bins=[-1, 1, 2, 3, 5])
    assert (counts > 60).all()


def test_small_photos_are_enlarged():
    crops = next(batches(Squares((5, 7), (1, 1), (1, 9)), batch_size=9, crop=16, seed=0))
    assert crops.shape == (9, 16, 16, 3)
    plain = [crop for crop in crops if np.ptp(crop, axis=(0, 1)).max() == 0]
    assert np.isin([crop[0, 0] for crop in plain], noise(1, 1, 3, seed=1)).all()


def variants(folder):
    """Photos of every kind, each a file of its own; what is to be seen is what `read_image` gives."""
    photo = smooth(48, 64)
    turned = Image.Exif()
    turned[ExifTags.Base.Orientation] = 6
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    deep = np.asarray(photo.convert("L")).astype(np.uint16) * 257
    veiled = photo.convert("RGBA")
    veiled.putalpha(Image.fromarray(np.repeat(np.array([[0, 255]], np.uint8), 32, axis=1).repeat(48, axis=0)))
    photo.save(folder / "plain.png")
    photo.save(folder / "turned.jpg", exif=turned, quality=95)
    photo.save(folder / "turned.tif", exif=turned)
    photo.save(folder / "profile.jpg", icc_profile=profile, quality=95)
    photo.save(folder / "pair.mpo", save_all=True, append_images=[photo.rotate(180)], exif=turned)
    photo.convert("L").save(folder / "grey.jpg")
    photo.convert("CMYK").save(folder / "cmyk.jpg", quality=95)
    photo.convert("LAB").save(folder / "lab.tif")
    photo.convert("1").save(folder / "bits.png")
    photo.quantize(64).save(folder / "palette.gif")
    Image.fromarray(deep).save(folder / "deep.png")
    Image.fromarray(deep / np.float32(3e4)).save(folder / "float.tif")
    veiled.save(folder / "veiled.png")
    photo.quantize(16).save(folder / "clear.png", transparency=3)


def test_kinds_of_pictures_look_as_everywhere_else(tmp_path):
    variants(tmp_path)
    for path in Folder(tmp_path).paths:
        image = read_image(path)
        # The only square as large as its short side allows is known but for its place along the other.
        side = min(image.shape[:2])
        for crop in next(batches([(path.name, path.read_bytes())], batch_size=6, crop=side, seed=0)):
            errors = []
            for offset in range(max(image.shape[:2]) - side + 1):
                part = image[:, offset:][:, :side] if image.shape[1] > side else image[offset:][:side]
                errors += [np.abs(crop / 255 - turned).mean() for turned in (part, part[:, ::-1])]
            assert min(errors) < 0.5 / 255, path.name


def test_large_jpegs_are_decoded_at_a_reduced_size(tmp_path, monkeypatch):
    path = tmp_path / "a.jpg"
    smooth(960, 1280).save(path, quality=95)
    decoded = []

    def load(image, name):
        orientation = load_image(image, name)
        if name == str(path):  # Streams of other tests may still read ahead.
            decoded.append(image.size)
        return orientation

    monkeypatch.setattr("wct_jax.training.data.load_image", load)
    next(batches(Folder(tmp_path), batch_size=40, crop=100, seed=0))
    assert set(decoded) == {(1280, 960), (640, 480), (320, 240), (160, 120)}


def test_no_warning_from_many_threads(tmp_path, monkeypatch):
    # Pillow warns of each of these as of a decompression bomb; a warning is an error here, in threads too.
    smooth(20, 30).save(tmp_path / "a.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 400)
    stream = batches(Folder(tmp_path), batch_size=4, crop=8, seed=0, threads=4)
    assert all(next(stream).shape == (4, 8, 8, 3) for _ in range(20))


@pytest.mark.parametrize("threads", [1, 3])
def test_a_photo_that_is_cut_short_later_names_itself(tmp_path, threads):
    Image.fromarray(noise(60, 60, 3)).save(tmp_path / "a.jpg")
    path = tmp_path / "a.jpg"
    folder = Folder(tmp_path)
    path.write_bytes(path.read_bytes()[:-2000])
    stream = batches(folder, batch_size=2, crop=16, seed=0, threads=threads)
    text = refusal(next, stream)
    assert text.startswith(f"cannot read {path}: it is cut short or damaged (")
    assert stream.get_state() == {"next_index": 0}


def test_a_photo_that_is_deleted_names_itself(photos):
    stream = batches(Folder(photos), batch_size=5, crop=16, seed=0, threads=1)
    for path in photos.iterdir():
        path.unlink()
    assert refusal(next, stream) in [f"cannot read {photos / f'{level}.png'}: {os.strerror(2)}" for level in range(5)]
    path = photos / "0.png"
    Image.new("RGB", (8, 8)).save(path)
    folder = Folder(photos)
    path.unlink()
    assert refusal(lambda: list(centre_crops(folder, 8))) == f"cannot read {path}: {os.strerror(2)}"


def test_photos_of_a_camera(shared):
    folder = Folder(shared / "photos" / "val")
    assert len(folder) == 50
    batch = next(batches(folder, batch_size=16, crop=128, seed=0))
    assert batch.std() > 30


def test_photos_come_beside_styles_of_pictures_and_of_other_photos(tmp_path):
    """The stream goes on where its state says, and photos are the ones that come without styles."""
    photos, paintings = Squares(*[(30, 40)] * 5), Squares(*[(24, 24)] * 7)
    options = dict(batch_size=4, crop=16, seed=3)
    alone, pairs = batches(photos, **options), batches(photos, paintings, **options)
    first = next(pairs)
    assert (first.shape, first.dtype) == ((4, 2, 16, 16, 3), np.uint8)
    np.testing.assert_array_equal(first[:, 0], next(alone))
    assert not (first[:, 0] == first[:, 1]).all((1, 2, 3)).any()
    state, second = pairs.get_state(), next(pairs)
    other = batches(photos, paintings, **options)
    other.set_state(state)
    np.testing.assert_array_equal(next(other), second)
