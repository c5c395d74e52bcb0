//! The file of `train --config`, and a run's `config.toml`.

use super::mutate::Corpus;
use super::runner::Suite;
use super::{dataset_toml, targets};
use unet_engine::train::config::{Config, Facts, Options};

const WORDS: [&str; 14] = [
    "[augment]\n",
    "\n",
    "=",
    "\"",
    "nan",
    "inf",
    "-",
    "true",
    "threads = ",
    "no-augment = true\n",
    "size = ",
    "levels = 3\n",
    "[",
    "'",
];

fn corpus() -> Vec<Vec<u8>> {
    let options = Options { data: Some("litters".into()), organ: Some("heart".into()), ..Options::default() };
    let config = Config::resolve(&options, Facts { median_side: 100, n_train: 40 }).expect("the defaults");
    let short = "data = \"d\"\norgan = \"liver\"\nlr = 1e-3\nbase = 4\nlevels = 2\nsize = 32\nbatch = 4\nthreads = 2\n\
                 [augment]\nrotation_degrees = 10.0\nscale = [0.9, 1.1]\n";
    vec![config.to_toml().expect("a text").into_bytes(), short.as_bytes().to_vec()]
}

fn bound(bytes: &[u8]) -> usize {
    (1 << 20) + 1024 * bytes.len()
}

#[test]
fn mutants() {
    let corpus = Corpus { files: corpus(), words: &WORDS };
    Suite { name: "options_toml", corpus, n_mutants: 8_000, run: targets::options_toml, bound, repair: None }.test();
}

#[test]
fn deep_nesting_is_an_error() {
    for text in dataset_toml::nested(100_000) {
        assert!(!targets::options_toml(text.as_bytes()));
    }
}
