//! Checks of a recording that was read: what refers to something must refer to something that is
//! there, so that analysis may index without fear.

use super::{Recording, Slice};

impl Recording {
    /// Checks every reference.
    ///
    /// # Errors
    /// The first contradiction found, in words.
    pub fn validate(&self) -> Result<(), String> {
        let Self { processes, threads, stacks, mounts, .. } = self;
        for client in &self.clients {
            for &mount in &client.mounts {
                within("an RPC client", "mount", mount, mounts.len())?;
            }
        }
        if let Some(tcp) = &self.tcp {
            for connection in &tcp.connections {
                within("a TCP connection", "transport", connection.transport, tcp.transports.len())?;
            }
        }
        for thread in threads {
            within("a thread", "process", thread.process, processes.len())?;
        }
        for wait in &self.waits {
            within("a wait", "thread", wait.thread, threads.len())?;
            if let Some(stack) = wait.stack {
                within("a wait", "stack", stack, stacks.len())?;
            }
            if let Some(stack) = wait.user_stack {
                within("a wait", "user stack", stack, self.user_stacks.len())?;
            }
        }
        for lock in &self.locks {
            within("a lock wait", "process", lock.process, processes.len())?;
            for stack in [lock.stack, lock.holder_stack].into_iter().flatten() {
                within("a lock wait", "stack", stack, stacks.len())?;
            }
        }
        for wake in &self.wakes {
            within("a wake-up", "process", wake.process, processes.len())?;
            for stack in [wake.stack, wake.waker_stack].into_iter().flatten() {
                within("a wake-up", "stack", stack, stacks.len())?;
            }
        }
        self.slices.iter().try_for_each(|slice| self.validate_slice(slice))
    }

    fn validate_slice(&self, slice: &Slice) -> Result<(), String> {
        for rpc in &slice.rpc {
            within("a slice", "RPC series", rpc.series, self.rpc_series.len())?;
        }
        for step in &slice.rpc_steps {
            within("a slice", "RPC series", step.series, self.rpc_series.len())?;
        }
        for error in &slice.rpc_errors {
            within("a slice", "RPC series", error.series, self.rpc_series.len())?;
        }
        for tcp in &slice.tcp {
            let connections = self.tcp.as_ref().map_or(0, |tcp| tcp.connections.len());
            within("a slice", "TCP connection", tcp.connection, connections)?;
        }
        for thread in &slice.threads {
            within("a slice", "thread", thread.thread, self.threads.len())?;
        }
        for wait in &slice.waits {
            within("a slice", "wait", wait.wait, self.waits.len())?;
        }
        for histogram in &slice.wait_histograms {
            within("a slice", "process", histogram.process, self.processes.len())?;
            if let Some(stack) = histogram.stack {
                within("a slice", "stack", stack, self.stacks.len())?;
            }
        }
        for spans in &slice.spans {
            within("a slice", "process", spans.process, self.processes.len())?;
            if let Some(stack) = spans.stack {
                within("a slice", "stack", stack, self.stacks.len())?;
            }
            if spans.gaps_ns.len() != spans.lengths_ns.len() {
                return Err("a slice has stretches of time without a length".to_owned());
            }
        }
        Ok(())
    }
}

fn within(who: &str, what: &str, index: u32, len: usize) -> Result<(), String> {
    if (index as usize) < len { Ok(()) } else { Err(format!("{who} refers to {what} {index} of {len}")) }
}
