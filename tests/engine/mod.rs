//! The engine as a whole: recorded networks, their gradients, plans, and backends against the f64 reference.

mod gradient;
pub mod interpreter;
mod mixed;
pub mod networks;
mod plans;
pub mod reference_backend;
mod winograd;
