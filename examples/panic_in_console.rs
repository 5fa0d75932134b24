//! Takes the terminal as the console does and panics: what the operator is left with is what a test looks at.

use sluicegate::console::term::Held;

fn main() {
    let _held = Held::take().expect("run it in a terminal");
    panic!("a view went wrong");
}
