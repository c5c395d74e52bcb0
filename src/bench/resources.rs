//! What compiled kernels take: the table that `tools/kernel-report` writes.

use crate::error::{Error, Result};
use std::path::Path;

/// Where the project keeps it.
pub const TABLE: &str = "kernels/resources.tsv";

/// A kernel on a target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resources {
    pub kernel: String,
    pub target: String,
    /// Of a thread.
    pub registers: usize,
    /// Of a block, in bytes.
    pub shared: usize,
    /// Instructions for tensor cores in the hot loop, and all of its instructions.
    pub tensor: usize,
    pub loop_instructions: usize,
}

/// The columns that are read, as the table's second line names them.
const COLUMNS: [&str; 6] = ["kernel", "target", "registers", "shared", "tensor", "loop"];

/// Reads the table.
///
/// # Errors
/// If it cannot be read or is no such table.
pub fn read(path: &Path) -> Result<Vec<Resources>> {
    let text = std::fs::read_to_string(path)
        .map_err(|e| Error::data(path, "cannot be read").caused_by(e).remedy("name the project's table with --resources"))?;
    parse(&text).map_err(|why| Error::data(path, why).remedy("write it anew with tools/kernel-report --write"))
}

fn parse(text: &str) -> Result<Vec<Resources>, String> {
    let mut lines = text.lines().filter(|line| !line.starts_with('#'));
    let head: Vec<&str> = lines.next().unwrap_or_default().split('\t').collect();
    let mut places = [0; COLUMNS.len()];
    for (place, column) in places.iter_mut().zip(COLUMNS) {
        *place = head.iter().position(|name| *name == column).ok_or_else(|| format!("has no column {column}"))?;
    }
    lines.enumerate().map(|(i, line)| parse_row(line, places).ok_or_else(|| format!("row {} is none: {line}", i + 1))).collect()
}

fn parse_row(line: &str, places: [usize; COLUMNS.len()]) -> Option<Resources> {
    let cells: Vec<&str> = line.split('\t').collect();
    let text = |column: usize| cells.get(places[column]).copied();
    let number = |column| text(column)?.parse().ok();
    Some(Resources {
        kernel: text(0)?.into(),
        target: text(1)?.into(),
        registers: number(2)?,
        shared: number(3)?,
        tensor: number(4)?,
        loop_instructions: number(5)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_read_by_its_columns() {
        let text = "# nvcc 12.4; written\nmodule\tkernel\ttarget\tregisters\tshared\tstack\ttensor\tloop\nconv2d\tconv2d_3x3_f16\tsm_70\t141\t42624\t0\t256\t531\n";
        let rows = parse(text).unwrap();
        assert_eq!(rows.len(), 1);
        assert_eq!((&*rows[0].kernel, &*rows[0].target), ("conv2d_3x3_f16", "sm_70"));
        assert_eq!([rows[0].registers, rows[0].shared, rows[0].tensor, rows[0].loop_instructions], [141, 42_624, 256, 531]);
        assert!(parse("# nvcc\nmodule\tkernel\n").unwrap_err().contains("target"));
        assert!(parse(&text.replace("141", "many")).unwrap_err().contains("row 1"));
    }
}
