use image::{DynamicImage, ImageBuffer, Rgb};
use std::path::PathBuf;
use unet_engine::dataset::Source;
use unet_engine::error::ErrorKind;
use unet_engine::image::read;

fn folder() -> (tempfile::TempDir, impl Fn(&str) -> PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_path_buf();
    (folder, move |name: &str| path.join(name))
}

#[test]
fn intensities_are_as_stored() {
    let (_folder, path) = folder();
    let deep = ImageBuffer::from_fn(3, 2, |x, y| image::Luma([(x * 20_000 + y * 7) as u16]));
    for name in ["deep.png", "deep.tif"] {
        DynamicImage::from(deep.clone()).save(path(name)).unwrap();
        let picture = read::read(&path(name)).unwrap();
        assert_eq!(picture.pixels, [0.0, 20_000.0, 40_000.0, 7.0, 20_007.0, 40_007.0], "{name}");
    }
    let colour = ImageBuffer::from_fn(2, 1, |x, _| if x == 0 { Rgb([77u8, 77, 77]) } else { Rgb([255u8, 0, 100]) });
    for name in ["colour.png", "colour.tif"] {
        DynamicImage::from(colour.clone()).save(path(name)).unwrap();
        let pixels = read::read(&path(name)).unwrap().pixels;
        assert_eq!(pixels[0], 77.0, "{name}: grey stored as RGB keeps its value");
        assert!((pixels[1] - 87.645).abs() < 1e-3, "{name}: 0.299 * 255 + 0.114 * 100");
    }
}

/// A montage with a border around it as well fits exactly; one with a column too few or an odd pixel leaves a rest.
#[test]
fn a_given_grid_says_whether_it_leaves_a_rest() {
    let (_folder, path) = folder();
    let given = Some(unet_engine::dataset::manifest::GridSpec { rows: 2, columns: 3, border: 2 });
    for (name, width, height, has_rest) in [
        ("between.png", 3 * 20 + 2 * 2, 2 * 16 + 2, false),
        ("around.png", 3 * 20 + 4 * 2, 2 * 16 + 3 * 2, false),
        ("odd.png", 3 * 20 + 2 * 2 + 2, 2 * 16 + 2, true),
    ] {
        DynamicImage::from(ImageBuffer::from_fn(width, height, |x, y| image::Luma([(x * 7 + y * 13) as u8])))
            .save(path(name))
            .unwrap();
        let (source, reason) = Source::of_picture(&path(name), given).unwrap();
        assert_eq!(reason.contains("leaves a rest"), has_rest, "{name}: {}, {reason}", source.describe());
    }
}

#[test]
fn palette_masks_give_indices() {
    let (_folder, path) = folder();
    for (depth, width) in [(png::BitDepth::Two, 5), (png::BitDepth::Eight, 3)] {
        let file = std::fs::File::create(path("mask.png")).unwrap();
        let mut encoder = png::Encoder::new(file, width, 2);
        encoder.set_color(png::ColorType::Indexed);
        encoder.set_depth(depth);
        encoder.set_palette(vec![0, 0, 0, 255, 0, 0, 0, 255, 0, 0, 0, 255]);
        let bytes =
            if depth == png::BitDepth::Two { vec![0b00011011, 0b01000000, 0, 0b11000000] } else { vec![0, 1, 2, 3, 0, 1] };
        encoder.write_header().unwrap().write_image_data(&bytes).unwrap();
        let labels = read::read_labels(&path("mask.png")).unwrap().remove(0).unwrap();
        let expected: &[f32] =
            if depth == png::BitDepth::Two { &[0., 1., 2., 3., 1., 0., 0., 0., 0., 3.] } else { &[0., 1., 2., 3., 0., 1.] };
        assert_eq!(labels.pixels, expected);
    }
}

#[test]
fn stacks_give_all_pages() {
    let (_folder, path) = folder();
    let mut encoder = tiff::encoder::TiffEncoder::new(std::fs::File::create(path("stack.tif")).unwrap()).unwrap();
    for page in 0..4u8 {
        encoder.write_image::<tiff::encoder::colortype::Gray8>(2, 2, &[page, 1, 2, 3]).unwrap();
    }
    drop(encoder);
    assert_eq!(read::page_count(&path("stack.tif")).unwrap(), 4);
    let pages = read::read_pages(&path("stack.tif")).unwrap();
    assert_eq!(pages.into_iter().map(|p| p.unwrap().pixels[0]).collect::<Vec<_>>(), [0.0, 1.0, 2.0, 3.0]);
}

#[test]
fn lying_headers_and_cut_files_are_errors() {
    let (_folder, path) = folder();
    image::GrayImage::new(40, 30).save(path("good.png")).unwrap();
    image::GrayImage::new(40, 30).save(path("good.tif")).unwrap();
    let png = std::fs::read(path("good.png")).unwrap();
    let mut lying = png.clone();
    lying[16..24].copy_from_slice(&[0x7f, 0xff, 0xff, 0xff, 0x7f, 0xff, 0xff, 0xff]);
    std::fs::write(path("lying.png"), &lying).unwrap();
    std::fs::write(path("cut.png"), &png[..png.len() / 2]).unwrap();
    std::fs::write(path("empty.jpg"), b"").unwrap();
    let tiff = std::fs::read(path("good.tif")).unwrap();
    for name in ["lying.png", "cut.png", "empty.jpg", "missing.png"] {
        let error = read::read(&path(name)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Data, "{error}");
        assert!(error.to_string().contains(name), "{error}");
    }
    // Every byte of the header and the directory in turn is set to 0xff: an error or a picture, never a panic or a huge allocation.
    for at in 0..tiff.len() {
        let mut bad = tiff.clone();
        bad[at] = 0xff;
        std::fs::write(path("bad.tif"), &bad).unwrap();
        let _ = read::read_pages(&path("bad.tif"));
        std::fs::write(path("bad.tif"), &tiff[..at]).unwrap();
        let _ = read::read_pages(&path("bad.tif"));
    }
}

#[test]
fn a_picture_without_a_grid_that_may_be_a_composite_is_called_so() {
    let (_folder, path) = folder();
    let gradient = |width, height| image::GrayImage::from_fn(width, height, |x, y| image::Luma([(x / 9 + y / 8) as u8]));
    let reason = |name: &str, width, height| {
        gradient(width, height).save(path(name)).unwrap();
        let (source, reason) = Source::of_picture(&path(name), None).unwrap();
        assert_eq!(source, Source::Single { file: path(name) }, "{reason}");
        reason
    };
    for name in ["Composite.png", "montage 3.png"] {
        let reason = reason(name, 300, 200);
        assert!(reason.contains("its name says that it is a composite") && reason.contains("dataset.toml"), "{reason}");
    }
    assert!(reason("frame.png", 1600, 1000).contains("1600 x 1000 px is large"));
    assert!(!reason("frame.png", 300, 200).contains("dataset.toml"));
}
