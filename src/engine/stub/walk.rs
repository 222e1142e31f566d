//! Which server is asked next, and for how long.

use std::net::SocketAddr;
use std::time::Duration;

/// What a walk goes by.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct WalkPlan {
    /// The servers in the order in which they are asked.
    pub servers: Vec<SocketAddr>,
    /// How long the first of them is waited for.
    pub timeout: Duration,
    /// How often all of them are asked.
    pub attempts: u32,
}

impl WalkPlan {
    /// Begins with the server at this place, counted round: for `rotate`.
    #[must_use]
    pub fn new(servers: &[SocketAddr], first: usize, timeout: Duration, attempts: u32) -> Self {
        let mut servers = servers.to_vec();
        if !servers.is_empty() {
            let first = first % servers.len();
            servers.rotate_left(first);
        }
        WalkPlan { servers, timeout, attempts }
    }
}

/// One server to ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Step {
    /// The server.
    pub server: SocketAddr,
    /// How long to wait for it.
    pub timeout: Duration,
}

/// Goes through the servers, as `res_send` of glibc does: all of them once, then all of them again, until
/// one has answered or each had its attempts.
///
/// The first is waited for as long as the plan says; the second and each further one twice as long as the
/// one before, divided by the number of servers, and for one second at least unless the plan's own time is
/// shorter.
///
/// ```
/// use netsonde::engine::stub::{ServerWalk, WalkPlan};
/// use std::time::Duration;
///
/// let servers = ["192.0.2.1:53".parse()?, "192.0.2.2:53".parse()?, "192.0.2.3:53".parse()?];
/// let walk = ServerWalk::new(WalkPlan::new(&servers, 0, Duration::from_secs(5), 1));
/// let times: Vec<_> = walk.map(|step| step.timeout.as_secs()).collect();
/// assert_eq!(times, [5, 3, 6]);
/// # Ok::<(), std::net::AddrParseError>(())
/// ```
#[derive(Clone, Debug)]
pub struct ServerWalk {
    plan: WalkPlan,
    place: usize,
    round: u32,
}

impl ServerWalk {
    /// At the beginning.
    #[must_use]
    pub const fn new(plan: WalkPlan) -> Self {
        ServerWalk { plan, place: 0, round: 0 }
    }
}

impl Iterator for ServerWalk {
    type Item = Step;

    fn next(&mut self) -> Option<Step> {
        if self.round >= self.plan.attempts {
            return None;
        }
        let server = *self.plan.servers.get(self.place)?;
        let timeout = self.plan.timeout;
        let timeout = match u32::try_from(self.place).unwrap_or(u32::MAX) {
            0 => timeout,
            place => {
                let servers = u32::try_from(self.plan.servers.len()).unwrap_or(u32::MAX).max(1);
                let longer = timeout.saturating_mul(1 << place.min(16)) / servers;
                let longer = match timeout {
                    // glibc counts in whole seconds.
                    whole if whole.subsec_nanos() == 0 => Duration::from_secs(longer.as_secs()),
                    _ => longer,
                };
                longer.max(timeout.min(Duration::from_secs(1)))
            }
        };
        self.place += 1;
        if self.place == self.plan.servers.len() {
            self.place = 0;
            self.round += 1;
        }
        Some(Step { server, timeout })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn servers(count: u8) -> Vec<SocketAddr> {
        (1..=count).map(|last| ([192, 0, 2, last], 53).into()).collect()
    }

    fn steps(count: u8, first: usize, millis: u64, attempts: u32) -> Vec<(u8, u64)> {
        let plan = WalkPlan::new(&servers(count), first, Duration::from_millis(millis), attempts);
        ServerWalk::new(plan)
            .map(|step| {
                let std::net::IpAddr::V4(ip) = step.server.ip() else { panic!("{step:?}") };
                (ip.octets()[3], u64::try_from(step.timeout.as_millis()).unwrap())
            })
            .collect()
    }

    #[test]
    fn every_server_has_its_turn_before_one_has_another() {
        assert_eq!(steps(2, 0, 5000, 2), [(1, 5000), (2, 5000), (1, 5000), (2, 5000)]);
        assert_eq!(steps(3, 0, 5000, 1), [(1, 5000), (2, 3000), (3, 6000)]);
        assert_eq!(steps(3, 4, 1000, 1), [(2, 1000), (3, 1000), (1, 1000)]);
        assert_eq!(steps(2, 1, 150, 1), [(2, 150), (1, 150)]);
        assert_eq!(steps(1, 7, 150, 2), [(1, 150), (1, 150)]);
    }

    #[test]
    fn without_servers_or_attempts_nobody_is_asked() {
        assert!(steps(0, 3, 1000, 2).is_empty());
        assert!(steps(2, 0, 1000, 0).is_empty());
    }
}
