//! sonde: probe network endpoints from a terminal.
fn main() {}
