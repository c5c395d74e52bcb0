//! `bench roofline`: what the kernels can reach at most on a GPU, counted.

use std::path::PathBuf;

/// What `bench roofline` takes besides.
#[derive(clap::Args)]
pub(super) struct RooflineArgs {
    /// Of roofline: v100, h100 or h200.
    #[arg(long, default_value = "v100")]
    gpu: String,
    /// Of roofline: what the compiled kernels take, as tools/kernel-report writes it [default: kernels/resources.tsv, where it is].
    #[arg(long, value_name = "FILE")]
    resources: Option<PathBuf>,
    /// Of roofline: write the tables of V100 and H200 into this document, between its marks.
    #[arg(long, value_name = "FILE", conflicts_with = "check")]
    write: Option<PathBuf>,
    /// Of roofline: fail if this document holds other tables than --write would put there.
    #[arg(long, value_name = "FILE")]
    check: Option<PathBuf>,
}

#[cfg(feature = "cuda")]
pub(super) use counted::run;

#[cfg(not(feature = "cuda"))]
pub(super) fn run(_args: &super::Args) -> crate::error::Result<()> {
    Err(crate::error::Error::device(
        "bench roofline counts the CUDA kernels, which are not in this build (feature `cuda` is off)",
    )
    .remedy("build it with `cargo build --release` (README, Building with CUDA kernels)"))
}

#[cfg(feature = "cuda")]
mod counted {
    use crate::atomic_file;
    use crate::bench::case::Case;
    use crate::bench::peaks::{H200, Peaks, V100};
    use crate::bench::resources::{self, Resources};
    use crate::bench::roofline::{Row, least_ms_of_step, markdown, rows};
    use crate::cli::bench::kernels;
    use crate::cli::{print_json, print_line};
    use crate::error::{Error, Result};
    use serde::Serialize;
    use std::path::Path;

    /// Where the tables begin and end in a document.
    const BEGIN: &str = "<!-- Written by `unet-engine bench roofline --write`. -->";
    const END: &str = "<!-- The end of what is written. -->";

    /// What is printed as JSON.
    #[derive(Serialize)]
    struct Report {
        what: &'static str,
        measured: bool,
        gpu: Peaks,
        rows: Vec<Row>,
    }

    pub fn run(args: &super::super::Args) -> Result<()> {
        let of = &args.of_roofline;
        let resources = read_resources(of)?;
        let cases = kernels::cases(args)?;
        if let Some(document) = of.write.as_ref().or(of.check.as_ref()) {
            let text = both(&cases, &resources)?;
            return if of.check.is_some() { check(document, &text) } else { write(document, &text) };
        }
        let gpu = Peaks::of(&of.gpu).ok_or_else(|| {
            Error::usage(format!("--gpu {}: not in the table of data sheets", of.gpu)).remedy("use v100, h100 or h200")
        })?;
        let rows = rows(&cases, &gpu, &resources)?;
        match args.json {
            true => print_json(&Report { what: "roofline", measured: false, gpu, rows }),
            false => print_line(&markdown(&rows)),
        }
    }

    /// The named table, which has to be there, or the project's, which need not: then what follows from it is left out.
    fn read_resources(of: &super::RooflineArgs) -> Result<Vec<Resources>> {
        match &of.resources {
            Some(path) => resources::read(path),
            None if of.write.is_none() && of.check.is_none() && !Path::new(resources::TABLE).exists() => Ok(Vec::new()),
            None => resources::read(Path::new(resources::TABLE)),
        }
    }

    fn both(cases: &[Case], resources: &[Resources]) -> Result<String> {
        let mut text = String::new();
        for gpu in [V100, H200] {
            let rows = rows(cases, &gpu, resources)?;
            text.push_str(&format!("\n### {}, `{}`\n\n", gpu.name, gpu.target));
            text.push_str(&format!(
                "Peaks: {} TFLOP/s with f16 operands, {} with f32, {} GB/s, {} multiprocessors.\n",
                gpu.tensor_flops_per_s / 1e12,
                gpu.f32_flops_per_s / 1e12,
                gpu.bytes_per_s / 1e9,
                gpu.multiprocessors
            ));
            text.push_str(&format!("At its rooflines, one after another, a step takes {:.1} ms.\n\n", least_ms_of_step(&rows)));
            text.push_str(&markdown(&rows));
        }
        text.push('\n');
        Ok(text)
    }

    /// What is before, between and behind the marks.
    fn split<'a>(document: &Path, text: &'a str) -> Result<[&'a str; 3]> {
        let parts = text.split_once(BEGIN).and_then(|(before, rest)| {
            let (between, after) = rest.split_once(END)?;
            Some([before, between, after])
        });
        parts.ok_or_else(|| {
            Error::data(document, "has no place for the tables").remedy(format!("put two lines there:\n{BEGIN}\n{END}"))
        })
    }

    fn read(document: &Path) -> Result<String> {
        std::fs::read_to_string(document).map_err(|e| Error::data(document, "cannot be read").caused_by(e))
    }

    fn write(document: &Path, tables: &str) -> Result<()> {
        let text = read(document)?;
        let [before, _, after] = split(document, &text)?;
        atomic_file::write(document, format!("{before}{BEGIN}\n{tables}{END}{after}").as_bytes())
    }

    fn check(document: &Path, tables: &str) -> Result<()> {
        let text = read(document)?;
        let [_, found, _] = split(document, &text)?;
        let expected = format!("\n{tables}");
        if found == expected {
            return print_line(&format!("{} holds what is counted", document.display()));
        }
        let differs = found.lines().zip(expected.lines()).find(|(a, b)| a != b);
        let line = differs.map_or("it ends elsewhere", |(found, _)| found);
        Err(Error::data(document, format!("holds other tables than are counted now, first at: {line}"))
            .remedy("write them anew with `unet-engine bench roofline --write`"))
    }
}
