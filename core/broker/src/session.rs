//! Who is behind a connection: signing in, and the registry of connections that the client commands show.

use std::{collections::BTreeMap, net::SocketAddr};

use iggy_binary_protocol::{
    ClientVersionInfo, EvictionReason, WireDecode, is_protocol_compatible,
    requests::users::{LoginRegisterRequest, LoginRegisterWithPatRequest},
};
use secrecy::{ExposeSecret, SecretString};

use crate::{Config, error::Failure};

/// A signed-in client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Session {
    /// The id the client chose.
    pub(crate) client: u128,
    /// The number it has to put in every write; above zero.
    pub(crate) number: u64,
}

/// Checks the body of a register request.
pub(crate) fn authenticate(config: &Config, body: &[u8]) -> Result<(), Failure> {
    let malformed = Failure::Evict(EvictionReason::MalformedLogin);
    let Ok((version, length)) = ClientVersionInfo::decode(body) else {
        return Err(malformed);
    };
    if !is_protocol_compatible(version.protocol_version) {
        return Err(Failure::Evict(EvictionReason::IncompatibleProtocol));
    }
    // The two kinds of login share an operation and differ by their shape only.
    let tail = &body[length..];
    if let Ok((login, length)) = LoginRegisterRequest::decode_after_prefix(version.clone(), tail)
        && length == tail.len()
    {
        return check_password(config, &login);
    }
    match LoginRegisterWithPatRequest::decode_after_prefix(version, tail) {
        Ok((login, length)) if length == tail.len() => check_token(config, &login.token),
        _ => Err(malformed),
    }
}

fn check_password(config: &Config, login: &LoginRegisterRequest) -> Result<(), Failure> {
    let user = equal(login.username.as_bytes(), config.username.as_bytes());
    let password = equal(
        login.password.expose_secret().as_bytes(),
        config.password.expose_secret().as_bytes(),
    );
    // Both are compared in any case: the time must not tell which was wrong.
    match user & password {
        true => Ok(()),
        false => Err(Failure::Evict(EvictionReason::InvalidCredentials)),
    }
}

fn check_token(config: &Config, token: &SecretString) -> Result<(), Failure> {
    let expected = config
        .token
        .as_ref()
        .map_or("", |token| token.expose_secret());
    let matches = equal(token.expose_secret().as_bytes(), expected.as_bytes());
    match matches & !expected.is_empty() {
        true => Ok(()),
        false => Err(Failure::Evict(EvictionReason::InvalidToken)),
    }
}

/// Compares in a time that depends on the lengths only.
fn equal(left: &[u8], right: &[u8]) -> bool {
    let pairs = left.iter().zip(right);
    let difference = pairs.fold(0, |difference, (left, right)| difference | (left ^ right));
    std::hint::black_box(difference) == 0 && left.len() == right.len()
}

/// All connections by their number.
#[derive(Debug, Default)]
pub(crate) struct Clients {
    connections: BTreeMap<u32, Client>,
    last_session: u64,
}

/// What others may know of a connection.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) address: SocketAddr,
    pub(crate) signed_in: bool,
}

impl Clients {
    pub(crate) fn connected(&mut self, connection: u32, address: SocketAddr) {
        let client = Client {
            address,
            signed_in: false,
        };
        self.connections.insert(connection, client);
    }

    pub(crate) fn disconnected(&mut self, connection: u32) {
        self.connections.remove(&connection);
    }

    /// Marks a connection as signed in and gives its session a number.
    pub(crate) fn signed_in(&mut self, connection: u32) -> u64 {
        if let Some(client) = self.connections.get_mut(&connection) {
            client.signed_in = true;
        }
        self.last_session += 1;
        self.last_session
    }

    pub(crate) fn signed_out(&mut self, connection: u32) {
        if let Some(client) = self.connections.get_mut(&connection) {
            client.signed_in = false;
        }
    }

    pub(crate) fn get(&self, connection: u32) -> Option<&Client> {
        self.connections.get(&connection)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (u32, &Client)> {
        self.connections
            .iter()
            .map(|(connection, client)| (*connection, client))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_equal_secrets_are_equal() {
        let table = [
            ("", "", true),
            ("a", "a", true),
            ("a", "b", false),
            ("a", "ab", false),
            ("ab", "a", false),
            ("", "a", false),
        ];
        for (left, right, expected) in table {
            assert_eq!(
                equal(left.as_bytes(), right.as_bytes()),
                expected,
                "{left:?} {right:?}"
            );
        }
    }

    #[test]
    fn an_empty_token_in_the_configuration_lets_nobody_in() {
        let config = Config {
            token: Some(SecretString::from("")),
            ..Config::default()
        };
        let refused = check_token(&config, &SecretString::from(""));
        assert_eq!(refused, Err(Failure::Evict(EvictionReason::InvalidToken)));
    }
}
