//! The first root file system of a guest: busybox, the few modules that reach the disks, and a script.
//!
//! It is kept small because the emulated machine has to read it all before anything runs; every other module lies on a
//! disk of its own and is read when asked for.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    io::{BufWriter, Write},
    path::Path,
};

use anyhow::{Context, Result, bail};

use crate::{cpio::Archive, stamp};

const INIT: &str = include_str!("../guest/initrd.sh");

/// What the script needs before it can read the disks and send results.
const MODULES: [&str; 5] = ["virtio_pci", "virtio_blk", "virtio_console", "erofs", "overlay"];

/// Counts up when the archive's layout changes without a change in the script.
const LAYOUT: &[u8] = b"1";

/// Builds `initrd` for the kernel whose modules lie in `modules`, unless it is up to date. Says whether it did.
pub(crate) fn build(initrd: &Path, modules: &Path, busybox: &Path) -> Result<bool> {
    let read = |path: &Path| fs::read(path).with_context(|| format!("reading {}", path.display()));
    let busybox = read(busybox)?;
    let stamp = stamp::of(&[INIT.as_bytes(), &busybox, MODULES.join(" ").as_bytes(), LAYOUT]);
    if stamp::matches(initrd, &stamp) {
        return Ok(false);
    }
    let text = |name: &str| {
        fs::read_to_string(modules.join(name)).with_context(|| format!("reading {name} in {}", modules.display()))
    };
    let order = load_order(&text("modules.dep")?, &text("modules.builtin")?, &MODULES)?;

    let file = File::create(initrd).with_context(|| format!("creating {}", initrd.display()))?;
    let mut archive = Archive::new(BufWriter::new(file));
    write(&mut archive, modules, &order, &busybox).with_context(|| format!("writing {}", initrd.display()))?;
    archive.finish().with_context(|| format!("writing {}", initrd.display()))?;
    stamp::write(initrd, &stamp)?;
    Ok(true)
}

fn write(archive: &mut Archive<impl Write>, modules: &Path, order: &[String], busybox: &[u8]) -> Result<()> {
    for folder in ["bin", "proc", "sys", "dev", "modules", "layers", "upper", "root"] {
        archive.folder(folder)?;
    }
    archive.file("bin/busybox", 0o755, busybox)?;
    archive.file("init", 0o755, INIT.as_bytes())?;
    let mut list = String::new();
    for path in order {
        let (_, name) = path.rsplit_once('/').unwrap_or(("", path));
        archive.file(&format!("modules/{name}"), 0o644, &fs::read(modules.join(path))?)?;
        list.push_str(&format!("/modules/{name}\n"));
    }
    archive.file("modules/order", 0o644, list.as_bytes())?;
    Ok(())
}

/// The files to load, in order, for `wanted` to work; modules built into the kernel need none.
fn load_order(dependencies: &str, builtin: &str, wanted: &[&str]) -> Result<Vec<String>> {
    let name = |path: &str| {
        let file = path.rsplit('/').next().unwrap_or(path);
        file.split('.').next().unwrap_or(file).replace('-', "_")
    };
    let builtin: BTreeSet<String> = builtin.lines().map(name).collect();
    let mut order: Vec<String> = Vec::new();
    for module in wanted {
        let entry =
            dependencies.lines().filter_map(|line| line.split_once(':')).find(|(path, _)| name(path) == *module);
        match entry {
            // depmod lists what a module needs with the first to load last.
            Some((path, needs)) => {
                for file in needs.split_whitespace().rev().chain([path]) {
                    if !order.iter().any(|have| have == file) {
                        order.push(file.to_owned());
                    }
                }
            }
            None if builtin.contains(*module) => {}
            None => bail!("this kernel has no module {module}, which guests need: choose another kernel"),
        }
    }
    Ok(order)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modules_load_after_what_they_need_and_once() {
        let dependencies = "kernel/fs/erofs/erofs.ko: kernel/lib/libcrc32c.ko\n\
                            kernel/lib/libcrc32c.ko:\n\
                            kernel/drivers/virtio/virtio_pci.ko: kernel/drivers/virtio/virtio_ring.ko kernel/drivers/virtio/virtio.ko\n\
                            kernel/drivers/block/virtio_blk.ko: kernel/drivers/virtio/virtio_ring.ko kernel/drivers/virtio/virtio.ko\n";
        let order = load_order(
            dependencies,
            "kernel/fs/overlayfs/overlay.ko\n",
            &["virtio_pci", "virtio_blk", "erofs", "overlay"],
        );
        let files: Vec<_> = order.unwrap().iter().map(|path| path.rsplit('/').next().unwrap().to_owned()).collect();
        assert_eq!(
            files,
            ["virtio.ko", "virtio_ring.ko", "virtio_pci.ko", "virtio_blk.ko", "libcrc32c.ko", "erofs.ko"]
        );
    }

    #[test]
    fn a_missing_module_is_named() {
        let error = load_order("", "kernel/fs/overlayfs/overlay.ko\n", &["overlay", "virtio-blk"]).unwrap_err();
        assert!(error.to_string().contains("virtio-blk"));
    }
}
