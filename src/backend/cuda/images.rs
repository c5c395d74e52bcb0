//! The compiled kernels in this binary, and which of them suits a GPU.
//!
//! `build.rs` compiles every `kernels/<module>.cu` for a fixed list of targets: machine code ("cubin", `sm_XY`) for architectures, and PTX
//! (`compute_XY`), which the driver compiles for its GPU when the module is loaded. NVIDIA's rules of compatibility, which
//! [`choose`] follows (CUDA C++ Programming Guide, "Binary Compatibility" and "PTX Compatibility"):
//!
//! - machine code runs within its major version, from its own minor version on, not on or from the embedded Tegra chips (7.2, 8.7);
//! - machine code with an `a` runs on exactly its architecture;
//! - PTX without an `a` can be compiled for its own architecture and every later one.

use crate::error::{Error, Result};

/// A module of kernels, compiled for a target.
#[derive(Clone, Copy, Debug)]
pub struct Image {
    /// The stem of its source: `kernels/<module>.cu`.
    pub module: &'static str,
    /// As nvcc names it: `sm_80`, or `compute_80` for PTX.
    pub target: &'static str,
    /// What `cuModuleLoadData` takes: an ELF file, or PTX with a NUL at its end. 16-byte aligned.
    pub bytes: &'static [u8],
}

/// The driver reads images as structures, and `include_bytes!` alone promises no alignment.
#[repr(C, align(16))]
#[allow(dead_code, reason = "a build without kernels makes none")]
struct Aligned<T: ?Sized>(T);

include!(concat!(env!("OUT_DIR"), "/kernels.rs"));

/// A GPU's architecture: major and minor number.
pub type Capability = (u32, u32);

/// Embedded chips, whose machine code is not interchangeable with that of other GPUs of their major version.
const TEGRA: &[Capability] = &[(7, 2), (8, 7)];

/// The user's wish for another target than the best one, from `UNET_ENGINE_CUDA_ARCH`. So `compute_70` shows what Volta's kernels compute, on
/// any later GPU, slowly.
pub fn wished_target() -> Option<String> {
    std::env::var("UNET_ENGINE_CUDA_ARCH").ok().filter(|target| !target.is_empty())
}

/// Whether there are kernels for a wished target, whatever the GPU.
///
/// # Errors
/// If none are embedded for it.
pub fn check_wish(wished: Option<&str>) -> Result<()> {
    match wished {
        Some(target) if !TARGETS.contains(&target) => Err(not_embedded(target, &TARGETS.join(", "))),
        _ => Ok(()),
    }
}

/// The image of `module` for a GPU of this capability: exactly its machine code, else the latest that it runs, else the latest PTX.
/// `wished`: this target and no other.
///
/// # Errors
/// If nothing embedded runs on the GPU, or not what was wished for.
pub fn choose(module: &str, capability: Capability, wished: Option<&str>) -> Result<&'static Image> {
    choose_among(IMAGES, module, capability, wished)
}

fn choose_among<'a>(images: &'a [Image], module: &str, capability: Capability, wished: Option<&str>) -> Result<&'a Image> {
    let of_module = || images.iter().filter(|image| image.module == module);
    if of_module().next().is_none() {
        return Err(no_module(module));
    }
    match wished {
        Some(target) => match of_module().find(|image| image.target == target) {
            Some(image) if preference(target, capability).is_some() => Ok(image),
            Some(_) => Err(does_not_run(target, &list(of_module()), capability)),
            None => Err(not_embedded(target, &list(of_module()))),
        },
        None => {
            let usable = of_module().filter_map(|image| Some((preference(image.target, capability)?, image)));
            let best = usable.max_by_key(|(preference, _)| *preference).map(|(_, image)| image);
            best.ok_or_else(|| none_fits(module, &list(of_module()), capability))
        }
    }
}

/// How well a target suits a GPU, the more the better; `None` if it cannot run there. Machine code counts before PTX, then the later
/// architecture before the earlier one, then the one with an `a`.
fn preference(target: &str, gpu: Capability) -> Option<(bool, Capability, bool)> {
    if let Some(number) = target.strip_prefix("compute_") {
        let version = parse(number)?;
        return (version <= gpu).then_some((false, version, false));
    }
    let number = target.strip_prefix("sm_")?;
    if let Some(number) = number.strip_suffix('a') {
        let version = parse(number)?;
        return (version == gpu).then_some((true, version, true));
    }
    let version = parse(number)?;
    let apart = TEGRA.contains(&version) || TEGRA.contains(&gpu);
    let runs = version == gpu || (!apart && version.0 == gpu.0 && version.1 < gpu.1);
    runs.then_some((true, version, false))
}

/// `90` is 9.0 and `120` is 12.0: the last digit is the minor number.
fn parse(number: &str) -> Option<Capability> {
    let number: u32 = number.parse().ok()?;
    Some((number / 10, number % 10))
}

fn list<'a>(images: impl Iterator<Item = &'a Image>) -> String {
    images.map(|image| image.target).collect::<Vec<_>>().join(", ")
}

fn no_module(module: &str) -> Error {
    let why = match COMPILER {
        Ok(compiler) => format!("it was not among kernels/*.cu when {compiler} compiled them"),
        Err(why) => why.to_string(),
    };
    Error::device(format!("this build holds no kernels `{module}`: {why}"))
        .remedy("build again with tools/install-nvcc run before, or use --device cpu")
}

fn not_embedded(target: &str, list: &str) -> Error {
    wish_fails(target, "no kernels are embedded for it", list)
}

fn does_not_run(target: &str, list: &str, (major, minor): Capability) -> Error {
    wish_fails(target, &format!("these kernels do not run on a GPU of compute capability {major}.{minor}"), list)
}

fn wish_fails(target: &str, why: &str, list: &str) -> Error {
    Error::usage(format!("UNET_ENGINE_CUDA_ARCH={target}: {why} (embedded: {list})"))
        .remedy("unset the variable, or name an embedded target that the GPU runs, such as compute_70")
}

fn none_fits(module: &str, list: &str, (major, minor): Capability) -> Error {
    Error::device(format!(
        "the kernels `{module}` are embedded for {list}; this GPU of compute capability {major}.{minor} runs none of them: it needs \
         sm_{major}{minor}, or PTX of compute_{major}{minor} or earlier"
    ))
    .remedy("build with an nvcc that knows all targets (tools/install-nvcc), or use --device cpu")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    const ALL: &[&str] = &["compute_70", "compute_80", "sm_70", "sm_75", "sm_80", "sm_86", "sm_89", "sm_90a"];

    fn images(targets: &[&'static str]) -> Vec<Image> {
        let of = |module| targets.iter().map(move |&target| Image { module, target, bytes: &[] });
        of("conv2d").chain(of("add")).collect()
    }

    fn chosen(targets: &[&'static str], capability: Capability, wished: Option<&str>) -> Result<&'static str> {
        choose_among(&images(targets), "add", capability, wished).map(|image| {
            assert_eq!(image.module, "add");
            image.target
        })
    }

    #[test]
    fn every_gpu_gets_its_best_image() {
        let cases = [
            ((7, 0), "sm_70"),
            ((7, 2), "compute_70"), // Tegra
            ((7, 5), "sm_75"),
            ((8, 0), "sm_80"),
            ((8, 6), "sm_86"),
            ((8, 7), "compute_80"), // Tegra
            ((8, 8), "sm_86"),
            ((8, 9), "sm_89"),
            ((9, 0), "sm_90a"),
            ((10, 0), "compute_80"), // not sm_90a
            ((12, 1), "compute_80"),
        ];
        for (capability, target) in cases {
            assert_eq!(chosen(ALL, capability, None).unwrap(), target, "{capability:?}");
        }
    }

    /// What an older or newer nvcc leaves out is replaced by what is there.
    #[test]
    fn the_next_best_is_taken() {
        assert_eq!(chosen(&["sm_70", "sm_80", "compute_70"], (7, 5), None).unwrap(), "sm_70");
        assert_eq!(chosen(&["sm_80", "sm_89", "compute_70"], (8, 6), None).unwrap(), "sm_80");
        assert_eq!(chosen(&["sm_80", "sm_89", "compute_70", "compute_80"], (9, 0), None).unwrap(), "compute_80");
        assert_eq!(chosen(&["sm_90", "sm_90a", "compute_80"], (9, 0), None).unwrap(), "sm_90a");
        assert_eq!(chosen(&["sm_90", "sm_90a", "compute_80"], (9, 1), None).unwrap(), "sm_90");
    }

    #[test]
    fn a_wish_is_met_or_refused() {
        assert_eq!(chosen(ALL, (9, 0), Some("compute_70")).unwrap(), "compute_70");
        assert_eq!(chosen(ALL, (8, 9), Some("sm_80")).unwrap(), "sm_80");
        for (wish, words) in [("sm_80", "9.0"), ("sm_60", "embedded: compute_70"), ("volta", "embedded: compute_70")] {
            let error = chosen(ALL, (9, 0), Some(wish)).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Usage);
            assert!(error.to_string().contains(words) && error.to_string().contains(wish), "{error}");
        }
    }

    /// Without a GPU, too.
    #[test]
    fn a_mistyped_wish_is_wrong_usage() {
        check_wish(None).unwrap();
        TARGETS.iter().for_each(|target| check_wish(Some(target)).unwrap());
        let error = check_wish(Some("sm_9O")).unwrap_err();
        assert!(error.kind() == ErrorKind::Usage && error.to_string().contains("UNET_ENGINE_CUDA_ARCH=sm_9O"), "{error}");
    }

    #[test]
    fn an_error_says_what_there_is_and_what_is_needed() {
        let error = chosen(ALL, (6, 1), None).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Device);
        assert!(error.to_string().contains("compute_80, sm_70") && error.to_string().contains("sm_61"), "{error}");
        let error = choose_among(&images(ALL), "none", (8, 0), None).unwrap_err();
        assert!(error.to_string().contains("`none`"), "{error}");
    }

    /// Of what this build holds, whatever it is.
    #[test]
    fn embedded_images_are_whole() {
        assert_eq!(COMPILER.is_ok(), !IMAGES.is_empty());
        for image in IMAGES {
            assert!(TARGETS.contains(&image.target));
            assert_eq!(image.bytes.as_ptr().align_offset(16), 0);
            let elf = image.bytes.starts_with(b"\x7fELF");
            assert!(
                elf || image.target.starts_with("compute_") && image.bytes.ends_with(b"\0"),
                "{} {}",
                image.module,
                image.target
            );
        }
    }
}
