use super::{SIDE, composite, rectangle, write_picture, write_rois};
use std::path::Path;
use std::process::Command;
use unet_engine::dataset::findings::Findings;
use unet_engine::dataset::layout::Layout;
use unet_engine::dataset::manifest::{Coordinates, GridSpec};
use unet_engine::dataset::{Dataset, Loaded, Sample, Series, Source, cache, open_input};
use unet_engine::error::ErrorKind;

fn series<'a>(dataset: &'a Dataset, name: &str) -> &'a Series {
    dataset.series.iter().find(|s| s.name == name).unwrap()
}

/// The samples of one series, past the user's cache.
fn samples(dataset: &Dataset, name: &str, organ: &str) -> (Vec<Sample>, Vec<String>) {
    let series = series(dataset, name);
    let loaded = unet_engine::dataset::load::load(series, &series.annotations[organ]).unwrap();
    (loaded.samples, loaded.warnings)
}

fn areas(samples: &[Sample]) -> Vec<(usize, usize)> {
    let visible = samples.iter().filter(|s| !s.instances.is_empty());
    visible.map(|s| (s.sub_image, s.instances.iter().map(|m| m.area()).sum())).collect()
}

#[test]
fn series_folders_in_sub_image_coordinates() {
    let root = tempfile::tempdir().unwrap();
    let folder = root.path().join("Litter 7");
    write_picture(&folder.join("composite.png"), &composite(7, 5, 1));
    write_rois(&folder.join("Hearts/litter7_sub3.zip"), &[rectangle("a", 5, 5, 10, 4), rectangle("b", 20, 20, 3, 3)]);
    write_rois(&folder.join("Hearts/litter7_sub12.zip"), &[rectangle("a", 40, 30, 8, 10)]);
    write_rois(&folder.join("placentae/litter7_sub35.zip"), &[rectangle("p", 1, 1, 6, 6)]);
    let dataset = Dataset::open(root.path()).unwrap();
    assert_eq!((dataset.layout, dataset.organs()), (Layout::SeriesFolders, vec!["heart".to_owned(), "placenta".to_owned()]));
    let litter = series(&dataset, "Litter 7");
    assert_eq!((litter.len(), litter.coordinates), (35, Some(Coordinates::SubImage)));
    let (hearts, warnings) = samples(&dataset, "Litter 7", "heart");
    assert_eq!(hearts.len(), 35, "not visible is annotated too");
    assert_eq!(areas(&hearts), [(3, 49), (12, 80)]);
    assert_eq!(hearts[2].instances.len(), 2);
    assert!(warnings.is_empty(), "{warnings:?}");
    let (placentas, _) = samples(&dataset, "Litter 7", "placenta");
    assert_eq!(areas(&placentas), [(35, 36)]);
    let error = dataset.samples("hart").unwrap_err().to_string();
    assert!(error.contains("did you mean --organ heart?"), "{error}");
}

#[test]
fn composite_coordinates_are_cut_at_the_cell() {
    let root = tempfile::tempdir().unwrap();
    let folder = root.path().join("s1");
    write_picture(&folder.join("s1.png"), &composite(7, 5, 2));
    let side = SIDE as i32;
    let rois = [
        rectangle("inside", 3 * side + 5, side + 6, 10, 10),
        // Its last two columns lie in the next cell.
        rectangle("over the edge", 5 * side - 8, 2, 10, 5),
        rectangle("outside", 9 * side, 2, 10, 5),
    ];
    write_rois(&folder.join("liver/RoiSet.zip"), &rois);
    let dataset = Dataset::open(root.path()).unwrap();
    let s1 = series(&dataset, "s1");
    assert_eq!(s1.coordinates, Some(Coordinates::Composite));
    assert!(s1.warnings.iter().any(|w| w.contains("outside") && w.contains("left out")), "{:?}", s1.warnings);
    let (livers, warnings) = samples(&dataset, "s1", "liver");
    assert_eq!(areas(&livers), [(5, 40), (11, 100)]);
    assert!(livers[10].instances[0].get(5, 6) && !livers[10].instances[0].get(4, 6));
    assert!(warnings[0].contains("10 of 50 pixels"), "{warnings:?}");
}

#[test]
fn ambiguous_coordinates_ask_for_the_manifest_and_the_manifest_answers() {
    let root = tempfile::tempdir().unwrap();
    let folder = root.path().join("s");
    write_picture(&folder.join("composite.png"), &composite(5, 7, 3));
    write_rois(&folder.join("heart/RoiSet.zip"), &[rectangle("left", 5, 5, 10, 10)]);
    let error = Dataset::open(root.path()).unwrap().samples("heart").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Data);
    assert!(error.to_string().contains("dataset.toml"), "{error}");
    std::fs::write(root.path().join("dataset.toml"), "coordinates = \"composite\"").unwrap();
    let dataset = Dataset::open(root.path()).unwrap();
    assert_eq!(areas(&samples(&dataset, "s", "heart").0), [(1, 100)]);
    std::fs::write(root.path().join("dataset.toml"), "[series.t]\ncoordinates = \"composite\"").unwrap();
    assert!(Dataset::open(root.path()).is_err(), "there is no series t");
    std::fs::remove_file(root.path().join("dataset.toml")).unwrap();
    // One such series among others is named and left out; the rest goes on.
    write_picture(&root.path().join("other/composite.png"), &composite(5, 7, 4));
    write_rois(&root.path().join("other/heart/sub_02.zip"), &[rectangle("x", 1, 1, 4, 4)]);
    let dataset = Dataset::open(root.path()).unwrap();
    assert!(series(&dataset, "s").is_ambiguous && !series(&dataset, "other").is_ambiguous);
    let loaded = dataset.samples("heart").unwrap();
    assert_eq!((loaded.samples.len(), loaded.broken.len(), loaded.warnings), (35, 1, Vec::new()));
}

#[test]
fn a_folder_of_pictures_and_organs_missing() {
    let root = tempfile::tempdir().unwrap();
    for i in 1..=4u32 {
        write_picture(&root.path().join(format!("a/images/img_{i:02}.png")), &composite(1, 1, u64::from(i)));
        write_picture(&root.path().join(format!("b/img_{}.png", i + 6)), &composite(1, 1, u64::from(i) + 9));
    }
    write_rois(&root.path().join("a/heart/img_02.zip"), &[rectangle("x", 0, 0, 4, 4)]);
    write_rois(&root.path().join("a/nerve/img_02.zip"), &[rectangle("x", 0, 0, 4, 4)]);
    write_rois(&root.path().join("b/heart/img_9.zip"), &[rectangle("x", 0, 0, 5, 5)]);
    write_rois(&root.path().join("b/heart/img_10.zip"), &[rectangle("x", -3, 0, 5, 5)]);
    let dataset = Dataset::open(root.path()).unwrap();
    assert_eq!(areas(&samples(&dataset, "a", "heart").0), [(2, 16)]);
    let (b, warnings) = samples(&dataset, "b", "heart");
    assert_eq!(areas(&b), [(9, 25), (10, 10)]);
    assert!(warnings[0].contains("15 of 25 pixels"), "{warnings:?}");
    assert!(!series(&dataset, "b").annotations.contains_key("nerve"));
    assert!(dataset.warnings.iter().any(|w| w.contains("b: not annotated for nerve")), "{:?}", dataset.warnings);
    let loaded = dataset.samples("heart").unwrap();
    assert!(loaded.warnings.iter().any(|w| w.contains("15 of 25 pixels")), "{:?}", loaded.warnings);
}

#[test]
fn a_folder_one_level_too_high_says_where_the_series_are() {
    let root = tempfile::tempdir().unwrap();
    for name in ["a", "b"] {
        write_picture(&root.path().join("litters").join(name).join("composite.png"), &composite(7, 5, 1));
        write_rois(&root.path().join("litters").join(name).join("heart/sub_02.zip"), &[rectangle("x", 1, 1, 4, 4)]);
    }
    let error = Dataset::open(root.path()).unwrap_err().to_string();
    assert!(error.contains("one level deeper") && error.contains("litters"), "{error}");
    assert_eq!(Dataset::open(&root.path().join("litters")).unwrap().series.len(), 2);
}

#[test]
fn copies_of_a_series_are_one_warning() {
    let root = tempfile::tempdir().unwrap();
    for name in ["a", "b"] {
        write_picture(&root.path().join(name).join("composite.png"), &composite(7, 5, 1));
        write_rois(&root.path().join(name).join("heart/sub_02.zip"), &[rectangle("x", 1, 1, 4, 4)]);
    }
    let warnings = Findings::of(&Dataset::open(root.path()).unwrap()).warnings;
    let repeated: Vec<&String> = warnings.iter().filter(|w| w.contains("the same picture")).collect();
    assert!(matches!(&repeated[..], [only] if only.contains("34 more")), "{warnings:?}");
}

#[test]
fn the_layout_of_the_lab() {
    let root = tempfile::tempdir().unwrap();
    let side = SIDE as i32;
    for (id, seed) in [(3, 1), (12, 2), (40, 3)] {
        write_picture(&root.path().join(format!("litter 2021 nr{id}.tif")), &composite(7, 5, seed));
    }
    let rois = |n: i32| vec![rectangle("Heart_1", side + 2, 2, 6, n as u32), rectangle("liver_1", 2 * side + 2, 2, 3, 3)];
    write_rois(&root.path().join("RoiSet12.zip"), &rois(7));
    for (i, roi) in rois(8).into_iter().enumerate() {
        write_rois(&root.path().join(format!("RoiSet03/{}-{i}.roi", roi.name)), &[roi]);
    }
    let dataset = Dataset::open(root.path()).unwrap();
    assert_eq!((dataset.layout, dataset.series.len()), (Layout::Lab, 3));
    assert_eq!(areas(&samples(&dataset, "litter 2021 nr3", "heart").0), [(2, 48)]);
    assert_eq!(areas(&samples(&dataset, "litter 2021 nr12", "heart").0), [(2, 42)]);
    assert_eq!(areas(&samples(&dataset, "litter 2021 nr12", "liver").0), [(3, 9)]);
    assert!(areas(&samples(&dataset, "litter 2021 nr12", "placenta").0).is_empty(), "annotated, not visible");
    assert!(series(&dataset, "litter 2021 nr40").annotations.is_empty());
}

#[test]
fn listed_pictures_with_masks_from_a_manifest_elsewhere() {
    let root = tempfile::tempdir().unwrap();
    let data = root.path().join("data");
    for i in 1..=5u32 {
        write_picture(&data.join(format!("images/{i:04}.png")), &composite(1, 1, u64::from(i)));
        let mut mask = image::GrayImage::new(SIDE, SIDE);
        for (x, value) in [(3, 1u8), (4, 1), (20, 2), (30, 1)] {
            mask.put_pixel(x, i, image::Luma([value]));
        }
        write_picture(&data.join(format!("masks/{i:04}.png")), &mask);
    }
    let manifest = root.path().join("mine.toml");
    let text = "root = \"data\"\nimages = \"images\"\ngroup = 2\n[organ.nerve]\nmask = \"masks/{stem}.png\"\nvalue = 1\n[organ.any]\nmask = \"masks/{stem}.png\"\ninstances = \"values\"\n";
    std::fs::write(&manifest, text).unwrap();
    let dataset = Dataset::open(&manifest).unwrap();
    assert_eq!(dataset.series.iter().map(Series::len).collect::<Vec<_>>(), [2, 2, 1]);
    let (nerves, _) = samples(&dataset, "group_001", "nerve");
    assert_eq!(nerves[0].instances.iter().map(|m| m.area()).collect::<Vec<_>>(), [2, 1]);
    let (any, _) = samples(&dataset, "group_003", "any");
    assert_eq!(any[0].instances.iter().map(|m| m.area()).collect::<Vec<_>>(), [3, 1]);
}

#[test]
fn the_cache_gives_the_same_and_follows_the_content() {
    let root = tempfile::tempdir().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let roi_file = root.path().join("s/heart/sub_02.zip");
    write_picture(&root.path().join("s/composite.png"), &composite(7, 5, 4));
    write_rois(&roi_file, &[rectangle("x", 1, 1, 4, 4)]);
    let load = |cache: &Path| {
        let dataset = Dataset::open(root.path()).unwrap();
        let annotation = &dataset.series[0].annotations["heart"];
        cache::load(Some(cache), &dataset.series[0], annotation).unwrap().samples
    };
    let first = load(folder.path());
    let entry = std::fs::read_dir(folder.path()).unwrap().next().unwrap().unwrap().path();
    assert_eq!(load(folder.path()), first);
    std::fs::write(&entry, b"damaged").unwrap();
    assert_eq!(load(folder.path()), first);
    assert!(std::fs::read(&entry).unwrap().len() > 1000, "the damaged entry was made anew");
    write_rois(&roi_file, &[rectangle("x", 1, 1, 5, 4)]);
    assert_eq!(areas(&load(folder.path())), [(2, 20)]);
    assert_eq!(areas(&load(&entry.join("no folder"))), [(2, 20)], "a cache that cannot be written is no error");
}

#[test]
fn one_broken_picture_is_named_and_the_rest_goes_on() {
    let root = tempfile::tempdir().unwrap();
    for i in 1..=3u64 {
        write_picture(&root.path().join(format!("s{i}/composite.png")), &composite(7, 5, i));
        write_rois(&root.path().join(format!("s{i}/heart/sub_02.zip")), &[rectangle("x", 1, 1, 4, 4)]);
    }
    std::fs::write(root.path().join("s2/composite.png"), b"no picture").unwrap();
    std::fs::write(root.path().join("s3/heart/sub_03.roi"), b"no roi").unwrap();
    let inspect =
        || Command::new(env!("CARGO_BIN_EXE_unet-engine")).args(["inspect", "--json"]).arg(root.path()).output().unwrap();
    let output = inspect();
    assert_eq!(output.status.code(), Some(3));
    let found: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(found["series"].as_array().unwrap().len(), 2);
    let errors = found["errors"].to_string();
    assert!(errors.contains("s2/composite.png") && errors.contains("sub_03.roi"), "{errors}");
    let Loaded { samples, broken, .. } = Dataset::open(root.path()).unwrap().samples("heart").unwrap();
    // What a broken ROI file was to say of its sub-image is not known: it must not count as a picture without a heart.
    assert_eq!((samples.len(), broken.len()), (69, 2));
    assert!(!samples.iter().any(|s| s.series == "s3" && s.sub_image == 3));
}

#[test]
fn inputs_of_predict() {
    let root = tempfile::tempdir().unwrap();
    write_picture(&root.path().join("series/a/composite.png"), &composite(7, 5, 1));
    write_picture(&root.path().join("series/b/composite.png"), &composite(7, 5, 2));
    write_picture(&root.path().join("frames/1.png"), &composite(1, 1, 3));
    write_picture(&root.path().join("frames/2.png"), &composite(1, 1, 4));
    let of = |path: &str| {
        let found = open_input(&root.path().join(path), None).unwrap();
        found.into_iter().map(|s| (s.name.clone(), s.len())).collect::<Vec<_>>()
    };
    let named = |name: &str, n| (name.to_owned(), n);
    assert_eq!(of("series"), [named("a", 35), named("b", 35)]);
    assert_eq!(of("series/a"), [named("a", 35)]);
    assert_eq!(of("series/a/composite.png"), [named("a", 35)]);
    assert_eq!(of("frames"), [named("frames", 2)]);
    assert_eq!(of("frames/1.png"), [named("1", 1)]);
    let single = open_input(&root.path().join("frames/1.png"), None).unwrap();
    assert!(matches!(single[0].source, Source::Single { .. }));
    assert!(open_input(root.path().join("series/none").as_path(), None).is_err());
    // What is a composite is cut, whatever lies beside it.
    write_picture(&root.path().join("frames/0.png"), &composite(7, 5, 5));
    assert_eq!(of("frames"), [named("0", 35), named("frames", 2)]);
    let given = GridSpec { rows: 7, columns: 1, border: 0 };
    let forced = open_input(&root.path().join("frames/0.png"), Some(given)).unwrap();
    assert_eq!(forced[0].len(), 7);
    // A dataset.toml above the picture says how it is cut.
    let text = "[series.a]\ngrid = { rows = 5, columns = 1 }\n[series.b]\ngrid = { rows = 1, columns = 7 }\n";
    std::fs::write(root.path().join("series/dataset.toml"), text).unwrap();
    assert_eq!([of("series/a"), of("series/a/composite.png")], [[named("a", 5)], [named("a", 5)]]);
    assert_eq!(of("series"), [named("a", 5), named("b", 7)]);
}
