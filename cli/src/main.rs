mod render;
mod spec;
fn main() {}
