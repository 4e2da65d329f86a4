//! Debian packages of this machine: what is missing, installing it, and which mirror it uses.

use std::{fs, path::Path, process::Command};

use anyhow::{Context, Result, bail};

use crate::host;

/// The mirror that this machine's own apt configuration names for Debian's main archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mirror {
    /// The archive's address, as apt writes it.
    pub uri: String,
    /// The suites of it that this machine follows.
    pub suites: Vec<String>,
}

/// Which of `packages` are not installed.
pub fn missing<'a>(packages: &[&'a str]) -> Result<Vec<&'a str>> {
    // dpkg-query fails when one of the names is unknown to it, and still lists the others.
    let listed = host::command("dpkg-query")
        .args(["-W", "-f", "${Package} ${db:Status-Abbrev}\n"])
        .args(packages)
        .output()
        .context("dpkg-query did not start: the lab is made of Debian packages and needs a Debian machine")?;
    let installed = installed(&String::from_utf8_lossy(&listed.stdout));
    Ok(packages.iter().copied().filter(|package| !installed.iter().any(|have| have == package)).collect())
}

fn installed(listing: &str) -> Vec<String> {
    let entry = |line: &str| {
        let (package, status) = line.split_once(' ')?;
        status.starts_with("ii").then(|| package.to_owned())
    };
    listing.lines().filter_map(entry).collect()
}

/// Installs `packages`, without what they merely recommend.
pub fn install(packages: &[&str]) -> Result<()> {
    install_with(&[], packages)
}

/// Installs `packages` from the backports of the Debian release that this machine runs.
///
/// The extra source is known to this one call only: the machine's own list of sources stays as it is.
pub fn install_from_backports(packages: &[&str], folder: &Path) -> Result<()> {
    let backports = format!("{}-backports", codename()?);
    let mirror = mirror()?;
    fs::create_dir_all(folder.join("lists/partial")).with_context(|| format!("creating {}", folder.display()))?;
    let list = folder.join("sources.list");
    let suites = mirror.suites.iter().chain([&backports]);
    let lines: String = suites.map(|suite| source_line(&mirror.uri, suite)).collect();
    fs::write(&list, lines).with_context(|| format!("writing {}", list.display()))?;

    let folder = folder.display();
    let options = [
        format!("Dir::Etc::sourcelist={}", list.display()),
        "Dir::Etc::sourceparts=-".to_owned(),
        format!("Dir::State::lists={folder}/lists"),
        "Dir::Cache::pkgcache=".to_owned(),
        "Dir::Cache::srcpkgcache=".to_owned(),
        "APT::Sandbox::User=root".to_owned(),
        format!("APT::Default-Release={backports}"),
    ];
    let options: Vec<_> = options.iter().flat_map(|option| ["-o", option.as_str()]).collect();
    host::run(apt_get()?.args(&options).arg("update"))?;
    install_with(&options, packages)
}

fn install_with(options: &[&str], packages: &[&str]) -> Result<()> {
    try_install(options, packages).map_err(|error| {
        let packages = packages.join(" ");
        let remedy = format!(
            "install this as root, and run the same again:\n  apt-get install --no-install-recommends {packages}"
        );
        host::with_remedy(&error, &remedy)
    })
}

fn try_install(options: &[&str], packages: &[&str]) -> Result<()> {
    let install = || {
        let mut command = apt_get()?;
        command.args(options).args(["install", "--yes", "--no-install-recommends"]).args(packages);
        host::run(&mut command)
    };
    if install().is_ok() {
        return Ok(());
    }
    // A list that is old or was never read offers nothing, or files that the mirror no longer has.
    host::run(apt_get()?.args(options).arg("update"))?;
    install()
}

fn apt_get() -> Result<Command> {
    // Questions of packages would wait for an answer that nobody sees.
    let mut command = host::privileged_with(&[("DEBIAN_FRONTEND", "noninteractive")], "apt-get")?;
    // Another installation may be going on: automatic upgrades, for one.
    command.args(["--quiet=2", "-o", "DPkg::Lock::Timeout=300"]);
    Ok(command)
}

/// One line of an apt source list, for Debian's own archive and signed by its own keys.
#[must_use]
pub fn source_line(uri: &str, suite: &str) -> String {
    format!("deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg arch=amd64] {uri} {suite} main\n")
}

/// The code name of the Debian release that this machine runs.
pub fn codename() -> Result<String> {
    let release = fs::read_to_string("/etc/os-release").context("reading /etc/os-release")?;
    os_codename(&release)
}

fn os_codename(os_release: &str) -> Result<String> {
    let field = |name: &str| {
        let value = os_release.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
        value.map(|value| value.trim_matches('"').to_owned())
    };
    if field("ID").as_deref() != Some("debian") {
        bail!(
            "the lab's packages come from Debian, and this machine runs {}: use Debian 12 or newer, or leave the lab out \
             with `cargo xtask test --no-lab`",
            field("PRETTY_NAME").unwrap_or_else(|| "something else".to_owned())
        );
    }
    field("VERSION_CODENAME").context("/etc/os-release names no VERSION_CODENAME")
}

/// The mirror this machine is set up to use; asks apt, so every way of writing sources down is understood.
pub fn mirror() -> Result<Mirror> {
    if let Some(mirror) = parse_mirror(&index_targets()?) {
        return Ok(mirror);
    }
    // Origins are known only once the lists have been read.
    host::run(apt_get()?.arg("update"))?;
    parse_mirror(&index_targets()?)
        .context("apt has no source of Debian's main archive: add one to /etc/apt/sources.list")
}

fn index_targets() -> Result<String> {
    let format = "$(ORIGIN)|$(LABEL)|$(CODENAME)|$(REPO_URI)|$(COMPONENT)";
    host::output(host::command("apt-get").args(["indextargets", "--format", format, "Created-By: Packages"]))
}

fn parse_mirror(targets: &str) -> Option<Mirror> {
    let rows = targets.lines().filter_map(|line| match line.split('|').collect::<Vec<_>>()[..] {
        ["Debian", "Debian", suite, uri, "main"] => Some((uri, suite)),
        _ => None,
    });
    let rows: Vec<_> = rows.collect();
    let (uri, _) = rows.first()?;
    let suites = rows.iter().filter(|(other, _)| other == uri).map(|(_, suite)| (*suite).to_owned());
    Some(Mirror { uri: (*uri).to_owned(), suites: suites.collect() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_wholly_installed_packages_count() {
        let listing = "kmod ii \nqemu-system-x86 rc \ncpio un \nxz-utils ii \nbroken line\n";
        assert_eq!(installed(listing), ["kmod", "xz-utils"]);
    }

    #[test]
    fn the_mirror_is_debians_main_archive() {
        let targets = "Debian|Debian-Security|bookworm-security|http://m/debian-security/|main\n\
                       ||nodistro|https://elsewhere/|main\n\
                       Debian|Debian|bookworm|http://m/debian/|main\n\
                       Debian|Debian|bookworm|http://m/debian/|contrib\n\
                       Debian|Debian|bookworm-updates|http://m/debian/|main\n";
        let mirror = parse_mirror(targets).unwrap();
        assert_eq!(mirror.uri, "http://m/debian/");
        assert_eq!(mirror.suites, ["bookworm", "bookworm-updates"]);
        assert_eq!(parse_mirror("||x|http://never-read/|main\n"), None);
    }

    #[test]
    fn another_distribution_is_told_so() {
        let debian = "PRETTY_NAME=\"Debian GNU/Linux 13 (trixie)\"\nID=debian\nVERSION_CODENAME=trixie\n";
        assert_eq!(os_codename(debian).unwrap(), "trixie");
        let fedora = os_codename("PRETTY_NAME=\"Fedora Linux 44\"\nID=fedora\n").unwrap_err().to_string();
        assert!(fedora.contains("Fedora Linux 44") && fedora.contains("--no-lab"), "{fedora}");
    }
}
