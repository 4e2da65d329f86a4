//! Attaching to the functions behind operations on files of NFS mounts.

use anyhow::Result;

use super::{Session, attach::attached};
use crate::{
    capture::{
        kernel::{
            file_functions::FileFunction,
            functions::{At, Attached, Loader},
        },
        load,
        settings::FileOps,
        stand_ins::{self, FILE_FUNCTIONS},
    },
    model::{ProbeState, ProbeStatus},
};

const MEASURES: &str = "operations on files as programs see them";

/// The programs at functions, and where each runs.
const PROGRAMS: [(&str, At); 2] = [("file_op_ends", At::Return), ("file_op_begins", At::Entry)];

impl Session {
    /// Attaches to the given functions, if they are wanted, and says what came of it. Each is attached to at its return
    /// first, so that no operation is begun and never ended.
    pub(super) fn attach_file_functions(&mut self, functions: Option<&[FileFunction]>) {
        self.probes.retain(|probe| probe.hook != FILE_FUNCTIONS);
        let Some(functions) = functions else {
            let detail = "not asked for (--file-ops)".to_owned();
            let state = ProbeState::NotApplicable;
            return self.probes.push(ProbeStatus { state, detail, ..attached(FILE_FUNCTIONS, MEASURES) });
        };
        let status = match self.attach_files(functions) {
            Ok(()) if self.file_programs.is_empty() => ProbeStatus {
                state: ProbeState::Fallback,
                detail: "not measured: the nfs module has no types that say what its functions take".to_owned(),
                remedy: "use a kernel from 6.0 on with module BTF (CONFIG_DEBUG_INFO_BTF_MODULES)".to_owned(),
                ..attached(FILE_FUNCTIONS, MEASURES)
            },
            Ok(()) => attached(FILE_FUNCTIONS, MEASURES),
            Err(error) => {
                self.file_programs.clear();
                ProbeStatus {
                    state: ProbeState::Fallback,
                    detail: format!("not measured: {error:#}"),
                    remedy: "use a kernel from 6.0 on (programs at functions that know where they run)".to_owned(),
                    ..attached(FILE_FUNCTIONS, MEASURES)
                }
            }
        };
        self.probes.push(status);
    }

    fn attach_files(&mut self, functions: &[FileFunction]) -> Result<()> {
        if functions.is_empty() || !self.file_programs.is_empty() {
            return Ok(());
        }
        let loader = Loader::new(&self.bpf, load::OBJECT, &PROGRAMS.map(|(name, _)| name))?;
        // A second program makes up for what the kernel keeps from the first: what both see, the second finds done.
        let times = if self.stand_ins { stand_ins::AT_FUNCTIONS } else { 1 };
        let functions = if self.file_ops == FileOps::Tried { &functions[..1] } else { functions };
        for function in functions {
            for (program, at) in PROGRAMS {
                let programs: Result<Vec<Attached>> = (0..times)
                    .map(|_| loader.attach(program, &function.function, at, function.hook.cookie()))
                    .collect();
                self.file_programs.push(programs?);
            }
        }
        Ok(())
    }
}
