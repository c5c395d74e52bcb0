//! The real series beside the project; without them these tests say so and pass.

use std::path::PathBuf;
use unet_engine::dataset::manifest::Coordinates;
use unet_engine::dataset::{Dataset, Source, load};
use unet_engine::image::{grid, read};

pub fn shared(name: &str) -> Option<PathBuf> {
    let beside = PathBuf::from(env!("CARGO_MANIFEST_DIR")).parent().map(|p| p.join("shared/data"));
    let given = std::env::var_os("UNET_ENGINE_SHARED_DATA").map(PathBuf::from);
    let found = given.or(beside).map(|root| root.join(name)).filter(|path| path.is_dir());
    if found.is_none() {
        eprintln!("not run: no shared data");
    }
    found
}

#[test]
fn annotated_series_of_real_ultrasound() {
    let Some(root) = shared("usgra-series") else { return };
    let dataset = Dataset::open(&root).unwrap();
    assert_eq!(dataset.organs(), ["nerve", "vessel"]);
    assert_eq!((dataset.series.len(), dataset.broken.len()), (3, 0));
    let expected = [Some(Coordinates::Composite), None, Some(Coordinates::SubImage)];
    let instances = [[51, 38], [42, 45], [48, 41]];
    for ((series, coordinates), counts) in dataset.series.iter().zip(expected).zip(instances) {
        assert_eq!((series.len(), series.coordinates), (35, coordinates), "{}", series.name);
        if let Source::Composite { grid, .. } = &series.source {
            assert_eq!((grid.rows, grid.columns, grid.cell, grid.border), (5, 7, [224, 224], 0));
        }
        for (organ, count) in ["nerve", "vessel"].into_iter().zip(counts) {
            let loaded = load::load(series, &series.annotations[organ]).unwrap();
            assert!(loaded.broken.is_empty() && loaded.warnings.is_empty(), "{:?}", loaded.warnings);
            assert_eq!(loaded.samples.iter().map(|s| s.instances.len()).sum::<usize>(), count, "{} {organ}", series.name);
        }
    }
}

#[test]
fn real_composites_are_found_without_doubt() {
    let Some(root) = shared("usgra-series") else { return };
    for series in ["series_01", "series_03"] {
        let found = grid::detect(&read::read(&root.join(series).join("composite.tif")).unwrap());
        assert_eq!((found.grid.rows, found.grid.columns, found.grid.cell), (5, 7, [224, 224]), "{series}: {}", found.reason);
        assert!(found.confidence >= 0.8, "{series}: {}", found.reason);
    }
}

#[test]
fn no_real_frame_is_a_composite() {
    let Some(root) = shared("usgra-seg-train") else { return };
    let files: Vec<PathBuf> = std::fs::read_dir(root.join("images")).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(files.len(), 105);
    for file in files {
        let found = grid::detect(&read::read(&file).unwrap());
        let is_single = found.grid.origins.len() == 1 || found.confidence < 0.4;
        assert!(is_single, "{}: {} x {} cells, {}", file.display(), found.grid.rows, found.grid.columns, found.reason);
    }
}

#[test]
fn mask_pictures_of_real_ultrasound() {
    let Some(root) = shared("usgra-seg-train") else { return };
    let folder = tempfile::tempdir().unwrap();
    let manifest = folder.path().join("usgra.toml");
    let text = format!(
        "root = {root:?}\nimages = \"images\"\ngroup = 35\n[organ.nerve]\nmask = \"masks/{{stem}}.png\"\nvalue = 1\n[organ.vessel]\nmask = \"masks/{{stem}}.png\"\nvalue = 2\n"
    );
    std::fs::write(&manifest, text).unwrap();
    let dataset = Dataset::open(&manifest).unwrap();
    assert_eq!(dataset.series.iter().map(|s| s.len()).collect::<Vec<_>>(), [35, 35, 35]);
    let loaded = load::load(&dataset.series[0], &dataset.series[0].annotations["nerve"]).unwrap();
    assert!(loaded.broken.is_empty() && loaded.warnings.is_empty());
    // Every picture of that set shows 1 to 5 nerves.
    assert!(loaded.samples.iter().all(|s| (1..=5).contains(&s.instances.len())));
}
