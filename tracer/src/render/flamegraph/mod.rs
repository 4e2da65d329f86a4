//! An off-CPU flame graph as SVG, coloured by what was waited for.
//!
//! inferno lays it out and supplies zoom and search. It knows frames by name only, and colours and
//! explains them by it; here the same function has another colour and other numbers in each place.
//! So inferno is given a number for each frame and the colours of these numbers, and names,
//! explanations and the legend are put into its picture afterwards.

mod dress;
mod legend;
mod palette;
mod words;

use std::{fmt::Write as _, io};

use inferno::flamegraph::{
    Options, TextTruncateDirection,
    color::{BackgroundColor, Color, PaletteMap},
};

use super::heading::Heading;
use crate::analyse::stacks::{Node, Stacks, Tree};
use dress::Dress;

/// Width without a browser, which stretches the picture to its window. inferno's default.
const WIDTH: f64 = 1200.0;
/// Kept free on the left and on the right, by inferno.
const MARGIN: f64 = 10.0;
/// Height of the text, and of a line of the heading.
const FONT_SIZE: usize = 12;
/// Width of a character, as a part of its height: the widest of the usual monospaced fonts.
const FONT_WIDTH: f64 = 0.61;

/// The picture, complete in itself: no fonts, scripts or styles from elsewhere.
///
/// # Errors
/// None that is known: it is drawn into memory, and `stacks` has time in it.
pub fn render(stacks: &Stacks<'_>, heading: &Heading) -> io::Result<Vec<u8>> {
    let tree = Tree::of(stacks);
    let mut palette = PaletteMap::default();
    for (index, node) in tree.nodes.iter().enumerate() {
        // inferno's own outermost frame has no name.
        palette.insert(if index == 0 { String::new() } else { key(index) }, palette::colour(node));
    }
    let mut options = Options::default();
    options.title = super::escape::escape(&heading.title);
    options.name_type = "Frame:".into();
    options.count_name = "ns".into();
    options.font_size = FONT_SIZE;
    options.font_width = FONT_WIDTH;
    options.text_truncate_direction = TextTruncateDirection::Right;
    options.bgcolors = Some(BackgroundColor::Flat(Color::new(255, 255, 255)));
    options.palette_map = Some(&mut palette);
    options.no_sort = true;
    let mut picture = Vec::new();
    inferno::flamegraph::from_lines(&mut options, lines(&tree).lines(), &mut picture)?;
    dress::dress(&picture, &Dress { tree: &tree, stacks, heading })
}

/// The name under which inferno knows a node. Sorted by these names, stacks are in the order of the
/// tree: all have the same number of digits.
fn key(index: usize) -> String {
    format!("{index:010}")
}

/// The index of the node with this name.
fn index_of(key: &str) -> Option<usize> {
    key.parse().ok()
}

/// The tree as folded stacks of numbers.
fn lines(tree: &Tree<'_>) -> String {
    let mut lines = String::new();
    let mut path = Vec::new();
    for (index, node) in tree.nodes.iter().enumerate().skip(1) {
        let inner = path.iter().position(|&outer| outer == node.parent).map_or(0, |at| at + 1);
        path.truncate(inner);
        path.push(index);
        if node.own_ns > 0 {
            let keys: Vec<_> = path.iter().map(|&index| key(index)).collect();
            // Writing to a string does not fail.
            let _ = writeln!(lines, "{} {}", keys.join(";"), node.own_ns);
        }
    }
    lines
}

/// Columns that fit into a frame which has this share of the picture.
fn columns(node: &Node<'_>, total_ns: u64) -> usize {
    let share = node.waits.total_ns as f64 / total_ns.max(1) as f64;
    // As inferno's script has it: 3 pixels before the text.
    (((WIDTH - 2.0 * MARGIN) * share - 3.0) / (FONT_SIZE as f64 * FONT_WIDTH)).max(0.0) as usize
}
