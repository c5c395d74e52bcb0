//! Hostile input: every reader of files gets mutants of good files, and a few bombs built by hand. It answers with an error or a
//! result, never with a panic, a hang, or more memory than the input honestly needs.
//!
//! A test binary of its own, because its allocator counts. `docs/testing.md` says how a mutant is replayed.

mod allocator;
mod archives;
mod dataset_toml;
mod jpeg;
mod mutate;
mod options_toml;
mod png;
mod resume;
mod roi;
mod run_directory;
mod runner;
mod safetensors;
mod targets;
mod tiff;
