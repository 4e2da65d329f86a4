//! Who a process is: what follows from the markers found in its executable.

use serde::Serialize;

use crate::model::{Container, Executable, Identity, Made, Marker};

/// Who a process is, with the evidence.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct IdentityRow {
    /// In a line, for people.
    pub summary: String,
    /// Path of the executable, in the process's own mount namespace.
    pub path: String,
    /// True if that path no longer leads to it.
    pub deleted: bool,
    /// Type of the filesystem it is on; empty if not known.
    pub filesystem: String,
    /// Why the executable was not read; empty if it was.
    pub not_read: String,
    /// Language of its main part and version; `null` if no marker tells.
    pub language: Option<Named>,
    /// Runtime within that language, such as Tokio.
    pub runtime: Option<Named>,
    /// Allocators found in it: the first is the one to expect.
    pub allocators: Vec<&'static str>,
    /// `static` or `dynamic`; `null` if it was not read.
    pub linkage: Option<&'static str>,
    /// What stands in the executable, unjudged.
    pub executable: Option<Executable>,
    /// The container it runs in.
    pub container: Option<Container>,
    /// systemd unit; empty if none.
    pub unit: String,
    /// True if it runs in another process id namespace than the tracer.
    pub other_pid_namespace: Option<bool>,
    /// What these facts mean for the reader, and what they cannot tell.
    pub notes: Vec<&'static str>,
}

/// A name with a version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Named {
    /// Name.
    pub name: &'static str,
    /// Version; empty if not known.
    pub version: String,
    /// What was seen, and where.
    pub evidence: String,
}

impl Named {
    /// The markers that tell the same, as one: the version of the first that has one.
    fn from(executable: &Executable, made: Made) -> Option<Self> {
        let mut markers = executable.markers.iter().filter(|marker| marker.tells == made).peekable();
        let first = *markers.peek()?;
        let best: &Marker = markers.find(|marker| !marker.version.is_empty()).unwrap_or(first);
        Some(Self { name: name(made), version: best.version.clone(), evidence: best.evidence.clone() })
    }
}

const fn name(made: Made) -> &'static str {
    match made {
        Made::Go => "Go",
        Made::Jvm => "JVM",
        Made::Python => "Python",
        Made::Node => "Node.js",
        Made::Rust => "Rust",
        Made::CPlusPlus => "C++",
        Made::CCompiler => "C or C++",
        Made::Tokio => "Tokio",
        Made::Jemalloc => "jemalloc",
        Made::Mimalloc => "mimalloc",
        Made::Tcmalloc => "tcmalloc",
        Made::GlibcMalloc => "glibc",
        Made::MuslMalloc => "musl",
    }
}

/// Languages, the one that tells most first: an interpreter is also a C program, a Rust program may
/// hold C++, and every program's start-up code is C.
const LANGUAGES: [Made; 7] =
    [Made::Go, Made::Jvm, Made::Python, Made::Node, Made::Rust, Made::CPlusPlus, Made::CCompiler];

/// Allocators: one that was added is there to be used; the C library's always is.
const ALLOCATORS: [Made; 5] = [Made::Jemalloc, Made::Mimalloc, Made::Tcmalloc, Made::GlibcMalloc, Made::MuslMalloc];

const NO_PRELOAD: &str =
    "statically linked: nothing is loaded at its start, so LD_PRELOAD cannot exchange its allocator";
const PRELOAD_UNSEEN: &str = "a library preloaded (LD_PRELOAD) or loaded later would not show: the process's \
                              environment and mappings are not read, because that waits for its mmap_lock";
const GO_ALLOCATOR: &str = "Go's memory is from the Go runtime, whatever allocator the C library has";
const CUT: &str = "a section was searched only in part, because it is large: what stands in the rest was not seen";

/// What is known of who a process is.
#[must_use]
pub fn identify(comm: &str, pid: u32, identity: &Identity) -> IdentityRow {
    let executable = identity.executable.as_ref();
    let find = |made| executable.and_then(|executable| Named::from(executable, made));
    let language = LANGUAGES.into_iter().find_map(find);
    let is_go = language.as_ref().is_some_and(|language| language.name == name(Made::Go));
    let is_static = executable.map(|executable| executable.is_static);
    let mut allocators: Vec<_> = ALLOCATORS.into_iter().filter(|&made| find(made).is_some()).map(name).collect();
    let mut notes = Vec::new();
    if is_go {
        allocators.insert(0, name(Made::Go));
        notes.push(GO_ALLOCATOR);
    }
    if executable.is_some_and(|executable| !executable.cut.is_empty()) {
        notes.push(CUT);
    }
    match is_static {
        Some(true) => notes.push(NO_PRELOAD),
        Some(false) => notes.push(PRELOAD_UNSEEN),
        None => {}
    }
    let mut row = IdentityRow {
        summary: String::new(),
        path: identity.path.clone(),
        deleted: identity.deleted,
        filesystem: identity.filesystem.clone(),
        not_read: identity.not_read.clone(),
        language,
        runtime: find(Made::Tokio),
        allocators,
        linkage: is_static.map(|is_static| if is_static { "static" } else { "dynamic" }),
        executable: identity.executable.clone(),
        container: identity.container.clone(),
        unit: identity.unit.clone(),
        other_pid_namespace: identity.other_pid_namespace,
        notes,
    };
    row.summary = summary(comm, pid, &row);
    row
}

/// `storagenode (812): Go 1.22.1 (.go.buildinfo), static, Go's allocator · docker 3f2a9c0d1e4b · /usr/bin/storagenode`.
/// What matters most stands first, because a narrow screen cuts the rest.
fn summary(comm: &str, pid: u32, row: &IdentityRow) -> String {
    let mut parts = Vec::new();
    let mut made = Vec::new();
    if let Some(language) = &row.language {
        made.push(format!("{} ({})", with_version(language), short_evidence(&language.evidence)));
    } else if row.executable.is_some() {
        made.push("language not marked".to_owned());
    }
    made.extend(row.runtime.as_ref().map(with_version));
    made.extend(row.linkage.map(|linkage| match linkage {
        "static" => "static: no LD_PRELOAD".to_owned(),
        linkage => linkage.to_owned(),
    }));
    made.extend(row.allocators.first().map(|allocator| match *allocator {
        "Go" => "Go's own allocator".to_owned(),
        "glibc" | "musl" => format!("{allocator} malloc"),
        allocator => allocator.to_owned(),
    }));
    if !made.is_empty() {
        parts.push(made.join(", "));
    }
    if !row.not_read.is_empty() {
        parts.push(row.not_read.clone());
    }
    parts.extend(row.container.as_ref().map(|container| {
        let id: String = container.id.chars().take(12).collect();
        format!("{} {id}", container.runtime)
    }));
    if !row.path.is_empty() {
        parts.push(format!("{}{}", row.path, if row.deleted { " (deleted)" } else { "" }));
    }
    let build_id = row.executable.as_ref().and_then(|executable| executable.build_id.get(..8));
    parts.extend(build_id.map(|start| format!("build id {start}..")));
    format!("{comm} ({pid}): {}", parts.join(" · "))
}

fn with_version(named: &Named) -> String {
    format!("{} {}", named.name, named.version).trim_end().to_owned()
}

/// The place of the evidence alone: what was found there is in the JSON.
fn short_evidence(evidence: &str) -> &str {
    let evidence = evidence.rsplit_once("\" in ").map_or(evidence, |(_, section)| section);
    evidence.split_once(": ").map_or(evidence, |(section, _)| section)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn marker(tells: Made, version: &str, evidence: &str) -> Marker {
        Marker { tells, version: version.into(), evidence: evidence.into() }
    }

    fn program(is_static: bool, markers: Vec<Marker>) -> Identity {
        Identity {
            path: "/usr/bin/x".into(),
            executable: Some(Executable {
                build_id: "0123456789abcdef0123".into(),
                is_static,
                markers,
                ..Executable::default()
            }),
            ..Identity::default()
        }
    }

    #[test]
    fn a_static_go_program() {
        let mut identity = program(
            true,
            vec![marker(Made::Go, "", "note .note.go.buildid"), marker(Made::Go, "1.22.1", ".go.buildinfo: go1.22.1")],
        );
        let id = "3f2a9c0d1e4b5a69".into();
        identity.container = Some(Container { runtime: "docker".into(), id, pod: String::new() });
        let row = identify("storagenode", 812, &identity);
        assert_eq!(
            row.summary,
            "storagenode (812): Go 1.22.1 (.go.buildinfo), static: no LD_PRELOAD, Go's own allocator \
             · docker 3f2a9c0d1e4b · /usr/bin/x · build id 01234567.."
        );
        assert!(row.notes.contains(&NO_PRELOAD) && row.notes.contains(&GO_ALLOCATOR));
    }

    #[test]
    fn a_tokio_program_with_an_allocator_of_its_own() {
        let identity = program(
            false,
            vec![
                marker(Made::GlibcMalloc, "", "needs libc.so.6"),
                marker(Made::Rust, "", "\"/rustc/17067e9ac6d7\" in .rodata"),
                marker(Made::Tokio, "1.45.0", "\"/tokio-1.45.0\" in .rodata"),
                marker(Made::CCompiler, "", ".comment: GCC: (Debian) 12"),
                marker(Made::Jemalloc, "", "\"_rjem_malloc\" in .strtab"),
            ],
        );
        let row = identify("x", 1, &identity);
        assert_eq!(row.allocators, ["jemalloc", "glibc"]);
        assert!(row.summary.starts_with("x (1): Rust (.rodata), Tokio 1.45.0, dynamic, jemalloc · /usr/bin/x"));
        assert!(row.notes.contains(&PRELOAD_UNSEEN));
    }

    #[test]
    fn nothing_is_claimed_without_a_marker() {
        let row = identify("sh", 1, &program(true, Vec::new()));
        assert_eq!((row.language, row.allocators), (None, Vec::new()));
        assert!(row.summary.contains("language not marked, static"));
        let unread = Identity {
            path: "/mnt/a/x".into(),
            not_read: "executable is on nfs: not opened".into(),
            ..Identity::default()
        };
        let row = identify("x", 1, &unread);
        assert_eq!(row.summary, "x (1): executable is on nfs: not opened · /mnt/a/x");
        assert_eq!((row.linkage, row.notes), (None, Vec::new()));
    }
}
