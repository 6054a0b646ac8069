//! The table's clock: what is sent when, and when flows end.

use crate::flow::{Finish, Flow};
use crate::table::{FlowTable, NS_PER_MS};

/// A finished flow stays this long, for packets that come late, in ms.
const HOLD_MS: u64 = 15_000;

impl FlowTable {
    /// The update tick: flows that changed since the last one, and those that ended, are given to `emit`.
    ///
    /// Sets each flow's LastUpdateMetric; removes flows that have ended and those whose application times out.
    /// At most so many flows are looked at; while there are more it returns true, and the next call goes on with them.
    pub fn update(&mut self, now_ms: u64, most: u32, mut emit: impl FnMut(&Flow)) -> bool {
        let (since, begin) = match self.unfinished_update.take() {
            Some(unfinished) => unfinished,
            None => {
                let since = std::mem::replace(&mut self.last_update_ms, now_ms);
                self.emit_left(since, now_ms, &mut emit);
                (since, 0)
            }
        };
        let now_ms = self.last_update_ms;
        let end = begin.saturating_add(most).min(self.flows.used());
        for index in begin..end {
            let applications = &self.options.applications;
            let Some(flow) = self.flows.slot(index) else { continue };
            let quiet_ms = now_ms.saturating_sub(flow.last_ns / NS_PER_MS);
            if flow.touched {
                flow.tick(since, now_ms);
                emit(flow);
                flow.forget_raw();
                continue;
            }
            let timed_out = applications.timeout_ms(flow.application).is_some_and(|limit| quiet_ms > limit);
            if timed_out && flow.finish == Finish::NotFinished {
                flow.finish_by_time();
                emit(flow);
                self.remove(index);
            } else if flow.finish != Finish::NotFinished && quiet_ms >= HOLD_MS {
                self.remove(index);
            } else {
                flow.quiet_tick(since, now_ms);
            }
        }
        let more = end < self.flows.used();
        self.unfinished_update = more.then_some((since, end));
        more
    }

    /// The expire tick: flows that have been quiet since the tick before it end, and are given to `emit`.
    /// At most so many flows are looked at, as in an update.
    pub fn expire(&mut self, now_ms: u64, most: u32, mut emit: impl FnMut(&Flow)) -> bool {
        let (before_ms, begin) = match self.unfinished_expire.take() {
            Some(unfinished) => unfinished,
            None => (std::mem::replace(&mut self.last_expire_ms, now_ms), 0),
        };
        let since = self.last_update_ms;
        let end = begin.saturating_add(most).min(self.flows.used());
        for index in begin..end {
            let Some(flow) = self.flows.slot(index) else { continue };
            let last_ms = flow.last_ns / NS_PER_MS;
            if last_ms >= before_ms {
                continue;
            }
            let unsent = flow.touched;
            if unsent {
                flow.tick(since, last_ms);
            }
            if unsent || flow.finish == Finish::NotFinished {
                flow.finish_by_time();
                emit(flow);
            }
            self.remove(index);
        }
        let more = end < self.flows.used();
        self.unfinished_expire = more.then_some((before_ms, end));
        more
    }

    /// End all flows and give them to `emit`; the table is empty after it.
    pub fn flush(&mut self, now_ms: u64, mut emit: impl FnMut(&Flow)) {
        let since = self.last_update_ms;
        self.emit_left(since, now_ms, &mut emit);
        for index in 0..self.flows.used() {
            let Some(flow) = self.flows.slot(index) else { continue };
            let unsent = flow.touched;
            if unsent {
                flow.tick(since, now_ms);
            }
            if unsent || flow.finish == Finish::NotFinished {
                flow.finish_by_time();
                emit(flow);
            }
            self.remove(index);
        }
    }

    fn emit_left(&mut self, since: u64, now_ms: u64, emit: &mut impl FnMut(&Flow)) {
        for mut flow in std::mem::take(&mut self.left) {
            flow.tick(since, now_ms);
            emit(&flow);
        }
    }

    /// Every flow as it stands.
    pub fn each(&self) -> impl Iterator<Item = &Flow> {
        self.flows.iter()
    }
}
