//! The fuzz targets are the functions that the mutants of the test suite go through, too.

#[path = "../../tests/hostile/targets.rs"]
pub mod targets;
