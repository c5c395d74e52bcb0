//! A data set of six pictures and a network of a few hundred weights: a whole training in a fraction of a second.

use super::program;
use image::{GrayImage, Luma};
use std::path::{Path, PathBuf};
use std::process::Command;

/// A fresh folder with a data set in it.
pub struct Tiny {
    folder: tempfile::TempDir,
}

impl Tiny {
    /// Three series of two pictures, a bright square in each, annotated by masks.
    pub fn new() -> Tiny {
        let tiny = Tiny { folder: tempfile::tempdir().unwrap() };
        let data = tiny.data();
        for folder in ["images", "masks"] {
            std::fs::create_dir_all(data.join(folder)).unwrap();
        }
        for i in 0..6u32 {
            let inside = |x: u32, y: u32| (3 + i..11 + i).contains(&x) && (2 + i..10).contains(&y);
            let noise = |x: u32, y: u32| (x * 37 + y * 101 + i * 53 + x * y) % 61;
            let level = |x, y| Luma([(30 + noise(x, y) + 90 * u32::from(inside(x, y))) as u8]);
            GrayImage::from_fn(20, 18, level).save(data.join(format!("images/{i}.png"))).unwrap();
            let mask = |x, y| Luma([255 * u8::from(inside(x, y))]);
            GrayImage::from_fn(20, 18, mask).save(data.join(format!("masks/{i}.png"))).unwrap();
        }
        let toml = "images = \"images\"\ngroup = 2\n[organ.square]\nmask = \"masks/{stem}.png\"\n";
        std::fs::write(data.join("dataset.toml"), toml).unwrap();
        tiny
    }

    pub fn data(&self) -> PathBuf {
        self.path("data")
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The arguments of a training from the beginning: two epochs and one of fine-tuning.
    fn arguments(&self, run: &Path) -> Vec<String> {
        let mut args = vec!["train".to_owned(), "--data".into(), text(&self.data()), "--out".into(), text(run)];
        args.extend(
            "--organ square --base 2 --levels 1 --size 16 --batch 2 --epochs 2 --fine-tune-epochs 1"
                .split(' ')
                .map(str::to_owned),
        );
        args.extend("--lr 1e-2 --threads 1 --device cpu --seed 3".split(' ').map(str::to_owned));
        args
    }

    /// A training from the beginning.
    pub fn train(&self, run: &Path) -> Command {
        self.train_with(run, &[])
    }

    /// The same with other values for some options.
    pub fn train_with(&self, run: &Path, others: &[(&str, &str)]) -> Command {
        let mut args = self.arguments(run);
        for (option, value) in others {
            let at = args.iter().position(|arg| arg == option).expect("an option that is given");
            args[at + 1] = (*value).to_owned();
        }
        program(&args.iter().map(String::as_str).collect::<Vec<_>>())
    }

    /// What a user does after a crash: go on with the run; or, where nothing of it was written yet, begin it once more.
    pub fn go_on(&self, run: &Path) -> Command {
        match run.join("config.toml").is_file() {
            true => program(&["train", "--resume", "--out", &text(run)]),
            false => self.train(run),
        }
    }

    /// A whole training without an accident.
    pub fn whole(&self) -> PathBuf {
        let run = self.path("whole");
        let output = self.train(&run).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        run
    }
}

pub fn text(path: &Path) -> String {
    path.to_str().expect("a path in UTF-8").to_owned()
}
