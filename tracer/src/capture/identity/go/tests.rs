use super::*;

/// The section as Go 1.19.8 wrote it (Debian 12, amd64, CGO_ENABLED=0, stripped) for a module
/// `example.org/storm`.
const SECTION: &[u8] = include_bytes!("buildinfo-1.19.8.bin");

#[test]
fn reads_what_the_linker_wrote() {
    let expected = GoBuild {
        version: "go1.19.8".into(),
        package: "example.org/storm".into(),
        module: "example.org/storm (devel)".into(),
    };
    assert_eq!(parse(SECTION), Some(expected));
}

#[test]
fn a_main_module_with_a_version() {
    let modules = "path\tstorj.io/storj/cmd/storagenode\nmod\tstorj.io/storj\tv1.95.1\th1:x=\ndep\tx\tv1\n";
    let mut section = SECTION[..STRINGS].to_vec();
    section.push(8);
    section.extend(b"go1.22.1");
    section.push((modules.len() + 2 * SENTINEL) as u8);
    section.extend([b'<'; SENTINEL]);
    section.extend(modules.bytes());
    section.extend([b'>'; SENTINEL]);
    let build = parse(&section).unwrap();
    assert_eq!(build.version, "go1.22.1");
    assert_eq!(build.package, "storj.io/storj/cmd/storagenode");
    assert_eq!(build.module, "storj.io/storj v1.95.1");
}

#[test]
fn older_forms_are_go_without_a_version() {
    let mut section = SECTION.to_vec();
    section[15] = 0;
    assert_eq!(parse(&section), Some(GoBuild::default()));
}

#[test]
fn damage_is_no_panic() {
    assert_eq!(parse(b"something else that is long enough"), None);
    for length in 0..SECTION.len() {
        let _ = parse(&SECTION[..length]);
    }
    for at in STRINGS..SECTION.len() {
        let mut section = SECTION.to_vec();
        section[at] = 0xff;
        let _ = parse(&section);
    }
}
