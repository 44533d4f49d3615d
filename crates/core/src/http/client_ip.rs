//! Whose address a request comes from, as far as the configured headers can be believed.
//!
//! As Better Auth: the leftmost entries of a forwarded header can be made up by anyone, so with
//! `trustedProxies` the chain is walked from the right to the first hop that is not one of them, and
//! without it only a header with a single entry counts. IPv6 addresses of one /64 are one client.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use http::{HeaderMap, HeaderName};
use ipnet::IpNet;

use crate::config::{Config, ConfigError, Environment};

/// How to find the client's address; made once from the configuration.
#[derive(Debug, Clone)]
pub struct ClientIp {
    headers: Vec<HeaderName>,
    proxies: Vec<IpNet>,
    subnet: u8,
    tracking: bool,
    fallback: Option<&'static str>,
}

impl ClientIp {
    /// Checks `advanced.ipAddress`.
    pub fn new(config: &Config) -> Result<Self, ConfigError> {
        let settings = &config.settings.advanced.ip_address;
        let proxies = settings
            .trusted_proxies
            .iter()
            .map(|text| {
                text.parse::<IpNet>().or_else(|_| text.parse::<IpAddr>().map(IpNet::from)).map_err(|_| {
                    ConfigError::new(
                        "advanced.ipAddress.trustedProxies",
                        format!("`{text}` is not an IP address or a CIDR range"),
                    )
                })
            })
            .collect::<Result<_, _>>()?;
        let subnet = settings.ipv6_subnet.unwrap_or(64);
        if subnet > 128 {
            return Err(ConfigError::new("advanced.ipAddress.ipv6Subnet", "must be at most 128"));
        }
        Ok(Self {
            headers: match &settings.ip_address_headers {
                None => vec![HeaderName::from_static("x-forwarded-for")],
                // What cannot be a header's name is never sent.
                Some(names) => names.iter().filter_map(|name| name.parse().ok()).collect(),
            },
            proxies,
            subnet,
            tracking: !settings.disable_ip_tracking,
            fallback: (config.environment != Environment::Production).then_some("127.0.0.1"),
        })
    }

    /// Is anybody's address looked at (`advanced.ipAddress.disableIpTracking`)?
    pub fn is_tracked(&self) -> bool {
        self.tracking
    }

    /// The client's address in normal form; `None` when there is none to be believed.
    pub fn find(&self, headers: &HeaderMap) -> Option<String> {
        if !self.tracking {
            return None;
        }
        for name in &self.headers {
            let values: Vec<&str> = headers.get_all(name).iter().filter_map(|v| v.to_str().ok()).collect();
            let chain = values.join(",");
            let entries: Vec<&str> = chain.split(',').map(str::trim).filter(|e| !e.is_empty()).collect();
            if let Some(ip) = self.walk(&entries) {
                return Some(normal_form(ip, self.subnet));
            }
        }
        self.fallback.map(str::to_owned)
    }

    fn walk(&self, entries: &[&str]) -> Option<IpAddr> {
        if self.proxies.is_empty() {
            return match entries {
                [only] => parse(only),
                _ => None,
            };
        }
        for entry in entries.iter().rev() {
            let ip = parse(entry)?;
            if !self.proxies.iter().any(|net| net.contains(&ip)) {
                return Some(ip);
            }
        }
        None
    }
}

fn parse(text: &str) -> Option<IpAddr> {
    let ip: IpAddr = text.parse().ok()?;
    // An IPv4 address written as IPv6 is that IPv4 address, or one client would have two names.
    Some(match ip {
        IpAddr::V6(v6) => v6.to_ipv4_mapped().map_or(ip, IpAddr::V4),
        IpAddr::V4(_) => ip,
    })
}

/// IPv4 in dots; IPv6 as eight full groups, masked to the subnet (better-auth `utils/ip`).
fn normal_form(ip: IpAddr, subnet: u8) -> String {
    match ip {
        IpAddr::V4(v4) => Ipv4Addr::to_string(&v4),
        IpAddr::V6(v6) => {
            let mask = if subnet == 0 { 0 } else { u128::MAX << (128 - u32::from(subnet.min(128))) };
            let masked = Ipv6Addr::from(u128::from(v6) & mask);
            masked.segments().map(|group| format!("{group:04x}")).join(":")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(proxies: &[&str]) -> ClientIp {
        ClientIp {
            headers: vec![HeaderName::from_static("x-forwarded-for")],
            proxies: proxies.iter().map(|p| p.parse().unwrap()).collect(),
            subnet: 64,
            tracking: true,
            fallback: None,
        }
    }

    fn find(client: &ClientIp, value: &str) -> Option<String> {
        let mut headers = HeaderMap::new();
        headers.insert("x-forwarded-for", value.parse().unwrap());
        client.find(&headers)
    }

    #[test]
    fn without_trusted_proxies_only_a_single_entry_counts() {
        let client = client(&[]);
        assert_eq!(find(&client, "203.0.113.7").as_deref(), Some("203.0.113.7"));
        assert_eq!(find(&client, "1.2.3.4, 203.0.113.7"), None);
        assert_eq!(find(&client, "unknown"), None);
    }

    #[test]
    fn a_made_up_first_entry_is_not_believed() {
        let client = client(&["10.0.0.0/8"]);
        assert_eq!(find(&client, "1.2.3.4, 203.0.113.7, 10.1.2.3").as_deref(), Some("203.0.113.7"));
        assert_eq!(find(&client, "1.2.3.4, nonsense, 10.1.2.3"), None);
        assert_eq!(find(&client, "10.1.1.1, 10.1.2.3"), None);
    }

    #[test]
    fn all_spellings_of_a_64_are_one_client() {
        let client = client(&[]);
        for spelling in ["2001:db8::1", "2001:DB8:0:0:ffff::", "2001:0db8:0000:0000:0001:0002:0003:0004"] {
            assert_eq!(find(&client, spelling).as_deref(), Some("2001:0db8:0000:0000:0000:0000:0000:0000"));
        }
        assert_eq!(find(&client, "::ffff:203.0.113.7").as_deref(), Some("203.0.113.7"));
    }
}
