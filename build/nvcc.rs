//! The compiler: where it is, what it is, what it can compile for.

use crate::targets::Target;
use crate::{GET_NVCC, Result, variable, warn};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// Where `tools/install-nvcc` puts one.
const INSTALLED: &str = ".local/cuda/bin/nvcc";

/// Variables from which nvcc itself takes further flags.
pub const FLAG_VARIABLES: &[&str] = &["NVCC_PREPEND_FLAGS", "NVCC_APPEND_FLAGS"];

/// `-lineinfo` is absent: it made the cubins of a matrix product 2.4 to 3.7 times as large. Profilers want it: NVCC_APPEND_FLAGS=-lineinfo.
/// `-Xptxas -v` says how many registers a kernel takes; `tools/kernel-report` reads it.
pub const FLAGS: &[&str] = &["-O3", "-std=c++17", "-Xptxas", "-v"];

pub struct Nvcc {
    pub path: PathBuf,
    /// `nvcc 12.4.131`.
    pub version: String,
    /// All that `nvcc --version` says.
    pub version_text: String,
}

/// The nvcc to use, if there is one. One that is named but does not work is an error, never passed over.
pub fn find() -> Result<Option<Nvcc>> {
    let named = variable("UNET_ENGINE_NVCC");
    if !named.is_empty() {
        let path = PathBuf::from(&named);
        if !path.is_file() {
            let remedy = "give the path of nvcc itself, or unset the variable to have it looked for";
            return Err(format!("UNET_ENGINE_NVCC={named}: there is no such file.\n  what to do: {remedy}"));
        }
        return examine(path).map(Some);
    }
    candidates().into_iter().find(|path| path.is_file()).map(examine).transpose()
}

pub fn not_found() -> String {
    format!("no nvcc was found (looked at UNET_ENGINE_NVCC, CUDA_HOME, CUDA_PATH, PATH and {INSTALLED})")
}

/// In the order in which they count. A PATH that changes later is not noticed: every shell has another, and each would compile anew.
fn candidates() -> Vec<PathBuf> {
    let name = format!("nvcc{}", std::env::consts::EXE_SUFFIX);
    let homes = ["CUDA_HOME", "CUDA_PATH"].map(variable).into_iter().filter(|home| !home.is_empty());
    let homes = homes.map(|home| Path::new(&home).join("bin").join(&name));
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).map(|folder| folder.join(&name)).collect::<Vec<_>>();
    homes.chain(folders).chain([PathBuf::from(INSTALLED)]).collect()
}

fn examine(path: PathBuf) -> Result<Nvcc> {
    println!("cargo::rerun-if-changed={}", path.display());
    let output = run(Command::new(&path).arg("--version"))?;
    let version_text = String::from_utf8_lossy(&output.stdout).into_owned();
    let number = version_text.lines().find_map(|line| line.split_once(", V"));
    match number {
        Some((_, number)) if output.status.success() => {
            Ok(Nvcc { version: format!("nvcc {}", number.trim()), path, version_text })
        }
        _ => Err(format!(
            "{}: expected an nvcc that says its version, found:\n{version_text}{}\n  what to do: {GET_NVCC}",
            path.display(),
            String::from_utf8_lossy(&output.stderr)
        )),
    }
}

impl Nvcc {
    /// Those of `targets` that this nvcc compiles for; the others are named in a warning. nvcc is asked, as its `--list-gpu-code`
    /// keeps silent about sm_90a.
    pub fn supported(&self, targets: &[Target]) -> Result<Vec<Target>> {
        let mut supported = Vec::new();
        let mut missing = Vec::new();
        for target in targets {
            if self.supports(target)? { supported.push(*target) } else { missing.push(target.code) }
        }
        if supported.is_empty() {
            return Err(format!(
                "{} compiles for none of our targets ({}).\n  what to do: {GET_NVCC}",
                self.name(),
                missing.join(", ")
            ));
        }
        if !missing.is_empty() {
            let missing = missing.join(", ");
            warn(&format!(
                "{} cannot compile for {missing}: this build gets no kernels for these. For all, {GET_NVCC}",
                self.name()
            ));
        }
        Ok(supported)
    }

    /// With `--dryrun` nvcc checks its arguments and compiles nothing.
    fn supports(&self, target: &Target) -> Result<bool> {
        let output = run(self.command(target).args(["--dryrun", "-x", "cu", "none.cu"]))?;
        let message = String::from_utf8_lossy(&output.stderr);
        match output.status.success() {
            true => Ok(true),
            false if message.contains("Unsupported gpu architecture") => Ok(false),
            false => Err(format!("{} does not work:\n{message}", self.name())),
        }
    }

    /// nvcc with all arguments but the files.
    pub fn command(&self, target: &Target) -> Command {
        let mut command = Command::new(&self.path);
        command.args(target.arguments()).args(FLAGS).args(["-I", crate::sources::FOLDER]);
        command
    }

    pub fn name(&self) -> String {
        format!("{} ({})", self.version, self.path.display())
    }
}

/// Runs a program to its end, whatever it says.
pub fn run(command: &mut Command) -> Result<Output> {
    command.output().map_err(|error| format!("cannot run {}: {error}", command.get_program().display()))
}
