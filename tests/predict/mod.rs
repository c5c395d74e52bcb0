//! Prediction and evaluation as a user runs them: a tiny network, trained on discs, on composites, stacks and broken files.

mod annotations;
mod archives;
mod evaluation;
mod foreign;
mod joint;
mod post_processing;

use crate::train::discs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;
use unet_engine::dataset::Sample;
use unet_engine::roi::{self, Roi, archive};

/// A folder with annotated series (`data`) and a model trained on them (`run`).
pub struct World {
    folder: PathBuf,
}

impl World {
    /// Made once for all tests: training takes a second.
    pub fn shared() -> &'static World {
        static WORLD: OnceLock<World> = OnceLock::new();
        WORLD.get_or_init(|| {
            // Statics are never dropped, so a temporary folder would stay behind in the system's; this one the next run replaces.
            let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("predict");
            let _ = std::fs::remove_dir_all(&folder);
            let world = World { folder };
            write_data(&world.path("data"), &discs(), "litter");
            let (data, run) = (world.path("data"), world.path("run"));
            let options =
                "--organ disc --base 4 --levels 2 --size 32 --batch 4 --epochs 8 --fine-tune-epochs 0 --lr 1e-2 --threads 1";
            let mut args = vec!["train", "--data", text(&data), "--out", text(&run)];
            args.extend(options.split(' '));
            let output = world.run(&args);
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            world
        })
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Runs the program with a cache folder of its own.
    pub fn run(&self, args: &[&str]) -> Output {
        let cache = self.path("cache");
        let mut command = Command::new(env!("CARGO_BIN_EXE_unet-engine"));
        command.args(args).env("XDG_CACHE_HOME", cache).output().expect("the program starts")
    }
}

pub fn text(path: &Path) -> &str {
    path.to_str().expect("the build folder has a plain name")
}

pub fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A folder per series, with a stack and one archive of ROIs that carry stack positions.
pub fn write_data(root: &Path, samples: &[Sample], prefix: &str) {
    for (i, series) in samples.chunk_by(|a, b| a.series == b.series).enumerate() {
        let folder = root.join(format!("{prefix}-{i}"));
        std::fs::create_dir_all(folder.join("disc")).unwrap();
        write_stack(&folder.join("composite.tif"), series);
        let rois: Vec<Roi> = series
            .iter()
            .flat_map(|s| {
                s.instances.iter().map(|mask| {
                    let mut roi = roi::from_mask(mask).expect("a disc has pixels");
                    roi.position = s.sub_image as u32;
                    roi.name = format!("disc-s{:02}-1", s.sub_image);
                    roi
                })
            })
            .collect();
        archive::write(&folder.join("disc").join("RoiSet.zip"), &rois).unwrap();
    }
}

pub fn write_stack(path: &Path, samples: &[Sample]) {
    let file = std::fs::File::create(path).unwrap();
    let mut encoder = tiff::encoder::TiffEncoder::new(file).unwrap();
    for sample in samples {
        let (width, height) = (sample.image.width as u32, sample.image.height as u32);
        encoder.write_image::<tiff::encoder::colortype::Gray8>(width, height, &bytes(sample)).unwrap();
    }
}

/// The samples in a grid with `columns` columns, `border` white pixels between the cells.
pub fn write_grid(path: &Path, samples: &[Sample], columns: usize, border: usize) {
    let (w, h) = (samples[0].image.width, samples[0].image.height);
    let rows = samples.len() / columns;
    let (width, height) = (columns * w + (columns - 1) * border, rows * h + (rows - 1) * border);
    let mut pixels = vec![255u8; width * height];
    for (i, sample) in samples.iter().enumerate() {
        let (left, top) = (i % columns * (w + border), i / columns * (h + border));
        for (y, row) in bytes(sample).chunks_exact(w).enumerate() {
            pixels[(top + y) * width + left..][..w].copy_from_slice(row);
        }
    }
    image::save_buffer(path, &pixels, width as u32, height as u32, image::ExtendedColorType::L8).unwrap();
}

fn bytes(sample: &Sample) -> Vec<u8> {
    sample.image.pixels.iter().map(|&p| p.round() as u8).collect()
}
