//! Asking a Debian suite that this machine does not follow: a private apt tree, apart from the machine's own.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result};

use crate::{apt, host};

/// One suite's package lists, kept in a folder of their own.
#[derive(Debug)]
pub(crate) struct Suite {
    name: String,
    folder: PathBuf,
}

impl Suite {
    /// Reads the package lists of `name` from `mirror` into a folder below `parent`.
    pub(crate) fn read(parent: &Path, mirror: &str, name: &str) -> Result<Self> {
        let folder = parent.join(name);
        for part in ["etc/empty", "state/lists/partial", "cache/archives/partial"] {
            fs::create_dir_all(folder.join(part))
                .with_context(|| format!("creating {}", folder.join(part).display()))?;
        }
        let write = |file: &str, text: &str| {
            fs::write(folder.join(file), text).with_context(|| format!("writing {}", folder.join(file).display()))
        };
        write("etc/sources.list", &apt::source_line(mirror, name))?;
        write("state/status", "")?;
        write("apt.conf", &configuration(&folder))?;
        let suite = Self { name: name.to_owned(), folder };
        host::run(suite.command("apt-get").arg("update"))
            .with_context(|| format!("the mirror {mirror} did not give the package lists of {name}"))?;
        Ok(suite)
    }

    /// The suite's name.
    #[must_use]
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// What the package lists say about `package`, newest version first; empty when the suite does not have it.
    #[must_use]
    pub(crate) fn show(&self, package: &str) -> String {
        host::output(self.command("apt-cache").args(["show", package])).unwrap_or_default()
    }

    /// Downloads `packages` into `folder`.
    pub(crate) fn download(&self, packages: &[String], folder: &Path) -> Result<()> {
        fs::create_dir_all(folder).with_context(|| format!("creating {}", folder.display()))?;
        host::run(self.command("apt-get").arg("download").args(packages).current_dir(folder))
    }

    fn command(&self, program: &str) -> Command {
        let mut command = host::command(program);
        command.env("APT_CONFIG", self.folder.join("apt.conf"));
        if program == "apt-get" {
            command.arg("--quiet=2");
        }
        command
    }
}

/// Points apt at `folder` for everything but the machine's own settings (proxies, for one), which stay in force.
fn configuration(folder: &Path) -> String {
    let folder = folder.display();
    format!(
        r#"APT::Architecture "amd64";
APT::Architectures {{ "amd64"; }};
APT::Sandbox::User "root";
Acquire::Languages "none";
Dir::Etc::sourcelist "{folder}/etc/sources.list";
Dir::Etc::sourceparts "{folder}/etc/empty";
Dir::Etc::preferencesparts "{folder}/etc/empty";
Dir::State "{folder}/state";
Dir::State::lists "{folder}/state/lists";
Dir::State::status "{folder}/state/status";
Dir::Cache "{folder}/cache";
"#
    )
}
