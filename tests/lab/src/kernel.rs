//! Debian's own kernels: finding the newest of a suite, unpacking it, and knowing which ones are there.
//!
//! They are unpacked, never installed: this machine's boot files are none of the lab's business.

use std::{
    cmp::Ordering,
    fs,
    path::{Path, PathBuf},
    thread,
};

use anyhow::{Context, Result, bail, ensure};

use crate::{erofs, erofs::Packing, host, initrd, suite::Suite};

/// The name of the newest kernel that the mirror has.
pub const NEWEST: &str = "newest";

/// A kernel the lab knows how to get.
#[derive(Clone, Copy, Debug)]
pub struct Source {
    /// Its name on the command line: the series, or "newest".
    pub name: &'static str,
    /// The suites to ask; the newest kernel in any of them is taken.
    suites: &'static [&'static str],
}

/// The kernels of the lab, oldest first.
pub const SOURCES: [Source; 4] = [
    Source { name: "5.10", suites: &["bullseye"] },
    Source { name: "6.1", suites: &["bookworm"] },
    Source { name: "6.12", suites: &["trixie"] },
    Source { name: NEWEST, suites: &["sid", "trixie-backports"] },
];

/// The build of the kernel meant for virtual machines: it has what the lab needs, and a third of the size.
const FLAVOUR: &str = "cloud-amd64";

/// A kernel that is ready to boot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kernel {
    /// Its name on the command line: the series, or "newest".
    pub name: String,
    /// The first two numbers of its version, such as `6.12`.
    pub series: String,
    /// What `uname -r` prints in a guest.
    pub release: String,
    folder: PathBuf,
}

impl Kernel {
    fn new(name: &str, release: &str, kernels: &Path) -> Self {
        let folder = kernels.join(release);
        Self { name: name.to_owned(), series: series(release), release: release.to_owned(), folder }
    }

    /// The kernel under `name`, if it has been unpacked.
    pub(crate) fn find(kernels: &Path, name: &str) -> Option<Self> {
        let release = fs::read_to_string(kernels.join(format!("{name}.release"))).ok()?;
        let kernel = Self::new(name, release.trim(), kernels);
        kernel.modules_image().is_file().then_some(kernel)
    }

    /// The compressed kernel.
    #[must_use]
    pub fn image(&self) -> PathBuf {
        self.folder.join("vmlinuz")
    }

    /// The options it was built with.
    #[must_use]
    pub fn config(&self) -> PathBuf {
        self.folder.join("config")
    }

    /// The folder with its modules, decompressed.
    #[must_use]
    pub fn modules(&self) -> PathBuf {
        self.folder.join("tree/usr/lib/modules").join(&self.release)
    }

    pub(crate) fn modules_image(&self) -> PathBuf {
        self.folder.join("modules.erofs")
    }

    pub(crate) fn initrd(&self) -> PathBuf {
        self.folder.join("initrd.cpio")
    }

    /// Builds the first root file system, unless it is up to date. Says whether it did.
    pub(crate) fn build_initrd(&self) -> Result<bool> {
        let busybox = host::find("busybox").context("busybox is not installed: apt-get install busybox-static")?;
        initrd::build(&self.initrd(), &self.modules(), &busybox)
            .with_context(|| format!("building the initrd of kernel {}", self.release))
    }
}

/// The source that `name` (a series, a release or "newest") belongs to.
#[must_use]
pub fn source(name: &str) -> Option<&'static Source> {
    SOURCES.iter().find(|source| source.name == name)
}

/// Asks `mirror` for the newest kernel of `source`, and unpacks it unless it is there.
pub(crate) fn fetch(kernels: &Path, apt: &Path, mirror: &str, source: &Source) -> Result<Kernel> {
    let asked: Vec<Result<(Suite, String)>> = thread::scope(|scope| {
        let ask = |name: &'static str| {
            move || {
                let suite = Suite::read(apt, mirror, name)?;
                let release = newest_release(&suite.show(&format!("linux-image-{FLAVOUR}")))
                    .with_context(|| format!("{name} has no package linux-image-{FLAVOUR}"))?;
                Ok((suite, release))
            }
        };
        let threads: Vec<_> = source.suites.iter().map(|name| scope.spawn(ask(name))).collect();
        threads.into_iter().map(|thread| thread.join().expect("asking a suite does not panic")).collect()
    });
    // Of several suites one may be out of reach; the newest of the others will do.
    let (found, failed): (Vec<_>, Vec<_>) = asked.into_iter().partition(Result::is_ok);
    let newest = found.into_iter().flatten().max_by(|(_, a), (_, b)| compare(a, b));
    let Some((suite, release)) = newest else {
        let reason = failed.into_iter().find_map(Result::err).context("no suite to ask")?;
        return Err(reason.context(format!("no kernel {} to be had", source.name)));
    };
    let kernel = Kernel::new(source.name, &release, kernels);
    if source.name != NEWEST {
        ensure!(
            kernel.series == source.name,
            "{} now has kernel {release}, which is not of the {} series",
            suite.name(),
            source.name
        );
    }
    if !kernel.modules_image().is_file() {
        unpack(&kernel, &suite)?;
    }
    let name = kernels.join(format!("{}.release", source.name));
    fs::write(&name, format!("{release}\n")).with_context(|| format!("writing {}", name.display()))?;
    Ok(kernel)
}

fn unpack(kernel: &Kernel, suite: &Suite) -> Result<()> {
    let release = &kernel.release;
    // Left by a run that was cut short.
    let _ = fs::remove_dir_all(&kernel.folder);
    let (debs, tree) = (kernel.folder.join("debs"), kernel.folder.join("tree"));
    // Newer releases put the image, the modules and the rest in packages of their own.
    let parts = ["linux-image", "linux-modules", "linux-base", "linux-binary"].map(|part| format!("{part}-{release}"));
    let packages: Vec<_> = parts.into_iter().filter(|package| !suite.show(package).is_empty()).collect();
    suite.download(&packages, &debs)?;
    for deb in entries(&debs)? {
        host::run(host::command("dpkg-deb").arg("-x").arg(&deb).arg(&tree))?;
    }
    // Older packages keep modules in /lib; the guests' root has it as a link to /usr/lib.
    let (old, new) = (tree.join("lib"), tree.join("usr/lib"));
    if old.is_dir() {
        fs::create_dir_all(&new)?;
        fs::rename(old.join("modules"), new.join("modules")).context("moving modules to usr/lib")?;
    }
    let modules = kernel.modules();
    ensure!(modules.is_dir(), "the packages {packages:?} of {} hold no modules for {release}", suite.name());
    for (name, target) in [("vmlinuz", kernel.image()), ("config", kernel.config())] {
        let places = [tree.join(format!("boot/{name}-{release}")), modules.join(name)];
        let Some(place) = places.iter().find(|place| place.is_file()) else {
            bail!("the packages {packages:?} of {} hold no {name}", suite.name());
        };
        fs::rename(place, &target).with_context(|| format!("moving {} into place", place.display()))?;
    }
    // Unpacked once here rather than at each load on an emulated processor.
    host::run(
        host::command("sh")
            .args(["-c", "find . -name '*.ko.xz' -print0 | xargs -0 -r -n 64 -P 2 xz -d"])
            .current_dir(&modules),
    )?;
    host::run(host::command("depmod").arg("-b").arg(tree.join("usr")).arg(release))?;
    for part in ["boot", "lib", "usr/share"] {
        let _ = fs::remove_dir_all(tree.join(part));
    }
    fs::remove_dir_all(&debs).with_context(|| format!("removing {}", debs.display()))?;
    erofs::pack(&tree, &kernel.modules_image(), Packing::Small)
}

/// Removes kernels that newer ones have replaced.
pub(crate) fn forget_old(kernels: &Path) -> Result<()> {
    let named: Vec<_> = SOURCES.iter().filter_map(|source| Kernel::find(kernels, source.name)).collect();
    for entry in entries(kernels)? {
        if entry.is_dir() && !named.iter().any(|kernel| kernel.folder == entry) {
            fs::remove_dir_all(&entry).with_context(|| format!("removing {}", entry.display()))?;
        }
    }
    Ok(())
}

fn entries(folder: &Path) -> Result<Vec<PathBuf>> {
    let read = fs::read_dir(folder).with_context(|| format!("reading {}", folder.display()))?;
    read.map(|entry| Ok(entry?.path())).collect()
}

/// The kernel release that a metapackage's newest version depends on.
fn newest_release(show: &str) -> Option<String> {
    let depends = show.lines().filter_map(|line| line.strip_prefix("Depends:"));
    let images = depends.flat_map(|list| list.split(',')).filter_map(|entry| {
        let package = entry.split_whitespace().next()?;
        package.strip_prefix("linux-image-").filter(|release| release.starts_with(|c: char| c.is_ascii_digit()))
    });
    images.max_by(|a, b| compare(a, b)).map(str::to_owned)
}

/// The first two numbers of a release.
fn series(release: &str) -> String {
    release.split('.').take(2).collect::<Vec<_>>().join(".")
}

/// Orders releases by their numbers, so that 6.12 comes after 6.1 and 5.10.0-32 after 5.10.0-9.
pub(crate) fn compare(a: &str, b: &str) -> Ordering {
    let numbers = |release: &str| -> Vec<u64> {
        release.split(|c: char| !c.is_ascii_digit()).filter_map(|part| part.parse().ok()).collect()
    };
    numbers(a).cmp(&numbers(b)).then_with(|| a.cmp(b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_are_ordered_as_numbers() {
        let mut releases = [
            "6.12.9+deb13-cloud-amd64",
            "6.1.0-50-cloud-amd64",
            "7.3.4+deb14-cloud-amd64",
            "5.10.0-9-x",
            "5.10.0-32-x",
            "6.12.10+deb13-x",
        ];
        releases.sort_by(|a, b| compare(a, b));
        let series: Vec<_> = releases.iter().map(|release| series(release)).collect();
        assert_eq!(series, ["5.10", "5.10", "6.1", "6.12", "6.12", "7.3"]);
        assert_eq!(releases[..2], ["5.10.0-9-x", "5.10.0-32-x"]);
        assert_eq!(releases[4], "6.12.10+deb13-x");
    }

    #[test]
    fn the_release_comes_from_what_the_metapackage_depends_on() {
        let show = "Package: linux-image-cloud-amd64\nVersion: 6.12.107-1\n\
                    Depends: linux-base, linux-image-6.12.107+deb13-cloud-amd64 (= 6.12.107-1)\nSize: 1\n\n\
                    Package: linux-image-cloud-amd64\nVersion: 6.12.99-1\n\
                    Depends: linux-image-6.12.99+deb13-cloud-amd64 (= 6.12.99-1)\n";
        assert_eq!(newest_release(show).unwrap(), "6.12.107+deb13-cloud-amd64");
        assert_eq!(newest_release("Package: x\nDepends: linux-image-cloud-amd64\n"), None);
        assert_eq!(newest_release(""), None);
    }
}
