//! The answer in its output formats, one file per format. Pure: whether to use colour and how wide
//! the screen is comes as a [`Style`].

pub mod doctor;
pub mod empty;
mod escape;
pub mod flamegraph;
pub mod folded;
pub mod heading;
pub mod json;
pub mod pprof;
pub mod speedscope;
pub mod text;

/// How text is to look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Style {
    /// Use ANSI colours.
    pub colour: bool,
    /// Columns available.
    pub width: usize,
}

impl Default for Style {
    fn default() -> Self {
        Self { colour: false, width: 100 }
    }
}
