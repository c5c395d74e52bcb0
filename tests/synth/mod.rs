//! Synthetic litters seen from outside: what is drawn, what is written, and that it is not trivial.

mod litter;
mod otsu;
mod written;
