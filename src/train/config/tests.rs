use super::*;
use clap::Parser;
use toml::Table;

const FACTS: Facts = Facts { median_side: 150, n_train: 100 };

/// On the CPU, whatever `auto` comes to on this machine.
fn given() -> Options {
    Options { data: Some("data".into()), organ: Some("heart".into()), device: Some("cpu".into()), ..Options::default() }
}

fn file(text: &str) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config.toml");
    std::fs::write(&path, text).unwrap();
    (folder, path)
}

#[test]
fn command_line_over_file_over_defaults() {
    let (_folder, path) = file("lr = 0.01\nbatch = 4\ninstances = 1\ntest_series = ['a', 'b']\n[augment]\nnoise = [0.0, 0.0]\n");
    let options = Options { lr: Some(0.5), ..given() }.over_file(&path).unwrap();
    let config = Config::resolve(&options, FACTS).unwrap();
    assert_eq!((config.lr, config.batch, config.epochs), (0.5, 4, 100));
    assert_eq!(config.test_series, ["a", "b"]);
    assert_eq!(config.augment, Some(AugmentConfig { noise: [0.0, 0.0], ..AugmentConfig::default() }));
}

#[test]
fn an_unknown_key_is_an_error_with_a_suggestion() {
    for (text, key, suggestion) in [
        ("epoch = 3", "`epoch`", "`epochs`"),
        ("fine_tune_epoch = 3", "`fine_tune_epoch`", "`fine-tune-epochs`"),
        ("learning = 3", "`learning`", "`lr`"),
        ("zzz = 3", "`zzz`", "the keys are: data"),
        ("[augment]\nrotation = 3", "`augment.rotation`", "`rotation_degrees`"),
    ] {
        let (_folder, path) = file(text);
        let error = given().over_file(&path).unwrap_err();
        let message = error.to_string();
        assert_eq!(error.kind(), ErrorKind::Usage);
        assert!(message.contains(key) && message.contains(suggestion) && message.contains("config.toml"), "{message}");
    }
}

#[test]
fn a_wrong_value_names_the_file_and_the_key() {
    let (_folder, path) = file("batch = 'many'");
    let message = given().over_file(&path).unwrap_err().to_string();
    assert!(message.contains("config.toml") && message.contains("batch"), "{message}");
}

/// The run's `config.toml` given to `--config` means the same training.
#[test]
fn the_resolved_configuration_is_a_configuration() {
    let cases = [
        given(),
        Options { no_augment: Some(true), min_precision: Some(0.95), alpha: Some(0.3), ..given() },
        Options { instances: Some(Instances::Count(4)), assignment: Some(Assignment::Spatial), ..given() },
        Options { preset: Some(Preset::Quick), test_series: Some(vec!["x".into()]), init: Some("w".into()), ..given() },
    ];
    for options in cases {
        let config = Config::resolve(&options, FACTS).unwrap();
        let (_folder, path) = file(&config.to_toml().unwrap());
        assert_eq!(Config::read(&path).unwrap(), config);
        let again = Options::default().over_file(&path).unwrap();
        assert_eq!(Config::resolve(&again, Facts { median_side: 10, n_train: 1000 }).unwrap(), config);
    }
}

#[test]
fn defaults_follow_organ_and_picture_size() {
    let resolve = |organ: &str, side| {
        let options = Options { organ: Some(organ.into()), ..given() };
        Config::resolve(&options, Facts { median_side: side, n_train: 100 }).unwrap()
    };
    let heart = resolve("heart", 150);
    assert_eq!((heart.arch, heart.levels, heart.base, heart.size, heart.batch), (Arch::Standard, 4, 32, 160, 8));
    let liver = resolve("liver", 150);
    assert_eq!((liver.arch, liver.levels, liver.size), (Arch::Deep, 5, 160));
    assert_eq!((resolve("placenta", 1000).arch, resolve("placenta", 1000).size), (Arch::Residual, 256));
    assert_eq!((resolve("nerve", 1).arch, resolve("nerve", 1).size), (Arch::Standard, 16));
    assert_eq!(default_size(300, 5, 100), 96, "the largest multiple that is allowed");
    let few = Config::resolve(&given(), Facts { median_side: 64, n_train: 3 }).unwrap();
    assert_eq!(few.batch, 3, "a batch cannot be larger than the training set");
}

/// A GPU gets a larger network and larger pictures; the emulator, which is for tests, and the quick recipe do not.
#[test]
fn base_and_largest_size_follow_the_device() {
    let resolve = |device: &str, options: Options| {
        let options = Options { device: Some(device.into()), ..options };
        let config = Config::resolve(&options, Facts { median_side: 1000, n_train: 100 }).unwrap();
        (config.base, config.size)
    };
    for (device, report) in [("cpu", (32, 256)), ("cuda", (64, 512)), ("cuda:1", (64, 512)), ("emulator:x", (32, 256))] {
        assert_eq!(resolve(device, given()), report, "{device}");
        assert_eq!(resolve(device, Options { preset: Some(Preset::Quick), ..given() }), (12, 96), "{device}");
        assert_eq!(resolve(device, Options { base: Some(8), ..given() }), (8, report.1), "{device}");
        assert_eq!(resolve(device, Options { size: Some(128), ..given() }), (report.0, 128), "{device}");
    }
    let small = Options { device: Some("cuda".into()), ..given() };
    assert_eq!(Config::resolve(&small, FACTS).unwrap().size, 160, "no larger than what holds the pictures");
}

/// A run that began on one device keeps its network and its input on another.
#[test]
fn a_runs_configuration_keeps_its_size_on_another_device() {
    let large = Facts { median_side: 1000, n_train: 100 };
    for (first, other) in [("cpu", "cuda"), ("cuda", "cpu")] {
        let on = |device: &str| Some(device.to_owned());
        let options = Options { device: on(first), precision: Some(PrecisionChoice::F32), ..given() };
        let begun = Config::resolve(&options, large).unwrap();
        let (_folder, path) = file(&begun.to_toml().unwrap());
        let options = Options { device: on(other), ..Options::default() }.over_file(&path).unwrap();
        let again = Config::resolve(&options, large).unwrap();
        assert_eq!(again, Config { device: other.into(), ..begun });
    }
}

#[test]
fn values_out_of_range_are_usage_errors_that_name_the_option() {
    let cases = [
        (Options { alpha: Some(1.5), ..given() }, "--alpha"),
        (Options { lr: Some(0.0), ..given() }, "--lr"),
        (Options { lr: Some(f64::NAN), ..given() }, "--lr"),
        (Options { size: Some(100), ..given() }, "--size"),
        (Options { levels: Some(60), ..given() }, "--levels"),
        (Options { base: Some(0), ..given() }, "--base"),
        (Options { epochs: Some(0), ..given() }, "--epochs"),
        (Options { min_precision: Some(1.1), ..given() }, "--min-precision"),
        (Options { instances: Some(Instances::Count(9)), ..given() }, "--instances"),
        (Options { instances: Some(Instances::Count(0)), ..given() }, "--instances"),
        (Options { organ: None, ..given() }, "--organ"),
    ];
    for (options, name) in cases {
        let error = Config::resolve(&options, FACTS).unwrap_err();
        assert!(error.kind() == ErrorKind::Usage && error.to_string().contains(name), "{error}");
    }
}

/// By itself what suits the CPU; where mixed precision is asked of it, the error names what it needs.
#[test]
fn precision_follows_the_device() {
    let resolve = |device: Option<&str>, precision| {
        let options = Options { device: device.map(String::from), precision, ..given() };
        Config::resolve(&options, FACTS).map(|config| config.precision)
    };
    for device in [None, Some("auto"), Some("cpu")] {
        for choice in [None, Some(PrecisionChoice::Auto)] {
            assert_eq!(resolve(device, choice).unwrap(), backend::default_precision("cpu").unwrap());
        }
        for (choice, precision) in [(PrecisionChoice::F32, Precision::F32), (PrecisionChoice::Bf16, Precision::Bf16)] {
            assert_eq!(resolve(device, Some(choice)).unwrap(), precision);
        }
        let error = resolve(device, Some(PrecisionChoice::Mixed)).unwrap_err();
        let message = error.to_string();
        assert!(error.kind() == ErrorKind::Device && message.contains("needs a CUDA device"), "{message}");
    }
    assert_eq!(resolve(Some("cuda"), None).unwrap(), Precision::Mixed);
    assert_eq!(resolve(Some("cuda:1"), Some(PrecisionChoice::F32)).unwrap(), Precision::F32);
    assert_eq!(resolve(Some("gpu"), None).unwrap_err().kind(), ErrorKind::Usage);
    let (_folder, path) = file("precision = 'mixed'\ndevice = 'cuda'");
    let config = Config::resolve(&Options { device: None, ..given() }.over_file(&path).unwrap(), FACTS).unwrap();
    assert!(config.precision == Precision::Mixed && config.to_toml().unwrap().contains("precision = \"mixed\""));
}

#[test]
fn the_command_line_knows_the_same_names() {
    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        options: Options,
    }
    let line = Line::parse_from([
        "x",
        "--instances",
        "auto",
        "--assignment",
        "spatial",
        "--no-augment",
        "--test-series",
        "a,b",
        "--fine-tune-epochs",
        "3",
    ]);
    assert_eq!(line.options.instances, Some(Instances::Auto));
    assert_eq!(line.options.assignment, Some(Assignment::Spatial));
    assert_eq!(line.options.no_augment, Some(true));
    assert_eq!(line.options.test_series, Some(vec!["a".into(), "b".into()]));
    assert_eq!(line.options.fine_tune_epochs, Some(3));
    assert!(Line::try_parse_from(["x", "--instances", "some"]).is_err());
    assert!(Line::try_parse_from(["x", "--assignment", "best"]).is_err());
}

#[test]
fn several_channels_are_the_networks_output() {
    let options = Options { instances: Some(Instances::Count(3)), ..given() };
    let config = Config::resolve(&options, FACTS).unwrap();
    assert_eq!((config.network().channels_out, config.assignment), (3, Assignment::LeastCost));
    let auto = Config::resolve(&Options { instances: Some(Instances::Auto), ..given() }, FACTS).unwrap();
    assert_eq!(auto.instances, AUTO_INSTANCES);
    let (_folder, path) = file("instances = 2\nassignment = 'spatial'");
    let config = Config::resolve(&given().over_file(&path).unwrap(), FACTS).unwrap();
    assert_eq!((config.instances, config.assignment), (2, Assignment::Spatial));
}

/// Runs from before there was a choice.
#[test]
fn a_configuration_without_an_assignment_is_read() {
    let config = Config::resolve(&given(), FACTS).unwrap();
    let text = config.to_toml().unwrap().replace("assignment = \"least-cost\"\n", "");
    assert!(!text.contains("assignment"));
    let (_folder, path) = file(&text);
    assert_eq!(Config::read(&path).unwrap(), config);
}

/// What the help says about defaults is what applies, for both recipes and on both kinds of device.
#[test]
fn the_help_states_the_defaults() {
    let command = <Options as clap::Args>::augment_args(clap::Command::new("train"));
    let mut n_checked = 0;
    for option in command.get_arguments() {
        let (id, name) = (option.get_id().to_string(), option.get_long().unwrap_or_default());
        let help = say_default(option.clone()).get_help().map(ToString::to_string).unwrap_or_default();
        let Some((_, said)) = help.split_once("[default: ") else { continue };
        assert!(said.ends_with(']') && said.matches('[').count() == 0, "--{name}: {help}");
        let (report, quick) = said.trim_end_matches(']').split_once("; quick ").unwrap_or((said.trim_end_matches(']'), ""));
        let (on_cpu, on_cuda) = report.split_once(" on the CPU, ").unwrap_or((report, report));
        let on_cuda = on_cuda.trim_end_matches(" on CUDA");
        let quick = if quick.is_empty() { on_cpu } else { quick };
        let cases = [
            (Preset::Report, "cpu", on_cpu),
            (Preset::Report, "cuda", on_cuda),
            (Preset::Quick, "cpu", quick),
            (Preset::Quick, "cuda", quick),
        ];
        for (preset, device, said) in cases {
            let options = Options { preset: Some(preset), organ: Some("liver".into()), device: Some(device.into()), ..given() };
            let config = Config::resolve(&options, Facts { median_side: 100_000, n_train: 100 }).unwrap();
            let config = Table::try_from(config).unwrap();
            // The last word: `at most 256`, `standard and residual 4, deep 5`.
            let last = said.rsplit(' ').next().unwrap_or_default();
            match (config.get(name), last.parse::<f64>()) {
                (Some(toml::Value::Float(found)), Ok(said)) => assert!((found - said).abs() < 1e-9, "--{name}: {help}"),
                (Some(toml::Value::Integer(found)), Ok(said)) => assert_eq!(*found as f64, said, "--{name}: {help}"),
                (Some(toml::Value::String(found)), _) if id == "schedule" => assert_eq!(found, last, "--{name}"),
                _ => continue,
            }
            n_checked += 1;
        }
    }
    assert!(n_checked >= 4 * 14, "only {n_checked} defaults were checked");
}
