//! Entry point: which of the programs in this binary is asked for.

fn main() {}
