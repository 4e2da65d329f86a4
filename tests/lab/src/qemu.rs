//! The emulated machine: its command line, and a process that never outlives its owner.

use std::{
    fs::File,
    path::{Path, PathBuf},
    process::{Child, ChildStdout, ExitStatus, Stdio},
};

use anyhow::{Context, Result};

use crate::{host, kernel::Kernel};

/// What every guest's kernel is told.
///
/// A panic ends the machine at once, pressure is measured, and the costly defences against speculation, which emulation
/// does not have, are off. All emulated processors count the same time: older kernels would not believe it, and turn to a
/// clock that is slow to read.
const PARAMETERS: &str = "console=ttyS0 quiet panic=-1 psi=1 mitigations=off tsc=reliable";

/// The machine of one guest.
#[derive(Debug)]
pub(crate) struct Machine<'a> {
    pub(crate) kernel: &'a Kernel,
    pub(crate) root: PathBuf,
    pub(crate) payload: PathBuf,
    pub(crate) smp: usize,
    pub(crate) mem_mib: usize,
    /// Arguments that connect it to other machines.
    pub(crate) network: Vec<String>,
    /// Where its console and results go.
    pub(crate) run: &'a Path,
    /// The folder that relative names in `network` start from.
    pub(crate) folder: &'a Path,
}

impl Machine<'_> {
    /// Starts it. What the guest's script prints comes out of the process's standard output.
    pub(crate) fn start(&self) -> Result<Process> {
        // The death of the thread that starts QEMU ends QEMU too, however it comes about.
        let mut command = host::command("setpriv");
        command.args(["--pdeathsig", "KILL", "--", "qemu-system-x86_64"]).args(self.arguments());
        let errors = self.run.join("qemu.log");
        let log = File::create(&errors).with_context(|| format!("creating {}", errors.display()))?;
        let child = command.current_dir(self.folder).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log).spawn();
        let child = child.context("starting QEMU through setpriv (package util-linux)")?;
        Ok(Process { child })
    }

    fn arguments(&self) -> Vec<String> {
        let mut arguments: Vec<String> =
            ["-nodefaults", "-no-user-config", "-no-reboot", "-display", "none", "-cpu", "max"]
                .map(str::to_owned)
                .into();
        let mut add = |name: &str, value: String| arguments.extend([name.to_owned(), value]);
        // Never KVM: where the lab runs inside a virtual machine it is often there and does not work.
        add("-accel", "tcg,thread=multi,tb-size=512".to_owned());
        add("-smp", self.smp.to_string());
        add("-m", format!("{}M", self.mem_mib));
        add("-kernel", self.kernel.image().display().to_string());
        add("-initrd", self.kernel.initrd().display().to_string());
        add("-append", PARAMETERS.to_owned());
        add("-serial", format!("file:{}", self.run.join("console.log").display()));
        let disks = [(&self.root, "root"), (&self.kernel.modules_image(), "modules"), (&self.payload, "payload")];
        for (image, name) in disks {
            let image = image.display();
            add("-drive", format!("file={image},if=none,id={name},format=raw,readonly=on,file.locking=off"));
            add("-device", format!("virtio-blk-pci,drive={name}"));
        }
        add("-device", "virtio-serial-pci".to_owned());
        add("-chardev", "file,id=output,path=/dev/stdout".to_owned());
        add("-device", "virtserialport,chardev=output,name=lab.output".to_owned());
        add("-chardev", format!("file,id=results,path={}", self.run.join("results.tar").display()));
        add("-device", "virtserialport,chardev=results,name=lab.results".to_owned());
        add("-device", "virtio-rng-pci".to_owned());
        arguments.extend(self.network.iter().cloned());
        arguments
    }
}

/// A running machine; dropping it ends it.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
}

impl Process {
    /// What the script prints; can be taken once.
    pub(crate) fn take_output(&mut self) -> Option<ChildStdout> {
        self.child.stdout.take()
    }

    /// How it ended, if it has.
    pub(crate) fn ended(&mut self) -> Result<Option<ExitStatus>> {
        self.child.try_wait().context("waiting for QEMU")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself already; then there is nothing to kill and only its exit to collect.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
