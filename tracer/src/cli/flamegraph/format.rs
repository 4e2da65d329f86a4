//! Output formats and the names of files that tell them.

use std::path::Path;

use clap::ValueEnum;

/// Ends of file names that tell a format, for error messages.
pub(super) const ENDINGS: &str = ".svg, .folded, .txt, .speedscope.json, .json, .pb.gz or .pprof";

/// What to write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// Flame graph, for a browser
    Svg,
    /// One line per stack with its time in ns, for other tools
    Folded,
    /// JSON for https://www.speedscope.app
    Speedscope,
    /// Compressed protobuf for pprof
    Pprof,
}

impl Format {
    /// The format that a file's name tells.
    pub(super) fn of(path: &Path) -> Option<Self> {
        let name = path.file_name()?.to_str()?.to_ascii_lowercase();
        let endings = [
            (Self::Svg, [".svg"].as_slice()),
            (Self::Folded, &[".folded", ".txt"]),
            (Self::Speedscope, &[".json"]),
            (Self::Pprof, &[".pb.gz", ".pprof"]),
        ];
        endings
            .into_iter()
            .find_map(|(format, endings)| endings.iter().any(|ending| name.ends_with(ending)).then_some(format))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_formats() {
        for (name, format) in [
            ("off.svg", Some(Format::Svg)),
            ("/a.svg/OFF.SVG", Some(Format::Svg)),
            ("off.folded", Some(Format::Folded)),
            ("off.speedscope.json", Some(Format::Speedscope)),
            ("off.pb.gz", Some(Format::Pprof)),
            ("off.svg.gz", None),
            ("svg", None),
            ("-", None),
        ] {
            assert_eq!(Format::of(Path::new(name)), format, "{name}");
        }
    }

    #[test]
    fn every_format_has_an_ending_that_is_named() {
        for format in Format::value_variants() {
            let named = ENDINGS.split([',', ' ']).filter(|ending| ending.starts_with('.'));
            assert!(named.map(|ending| format!("x{ending}")).any(|name| Format::of(Path::new(&name)) == Some(*format)));
        }
    }
}
