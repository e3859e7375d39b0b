//! Turns `[iggy]` into the settings of Iggy's TCP client. `client` connects with them.

use std::{path::Path, str::FromStr, time::Duration};

use iggy_common::{
    AutoLogin, ConnectionString, Credentials, IggyDuration, NonZeroIggyDuration, TcpClientConfig,
    TcpClientReconnectionConfig, TcpConnectionStringOptions,
};

use crate::{config::spec, pipeline::Failure};

/// Where to connect and who asks.
#[derive(Debug)]
pub(super) struct Settings {
    pub(super) tcp: TcpClientConfig,
    /// For messages: user `iggy`, or the token.
    pub(super) identity: String,
}

impl Settings {
    pub(super) fn new(iggy: &spec::Iggy) -> Result<Self, Failure> {
        let mut tcp = if iggy.address.contains("://") {
            from_connection_string(&iggy.address)?
        } else {
            from_address(iggy)
        };
        if let Some(token) = &iggy.token {
            tcp.auto_login = AutoLogin::Enabled(Credentials::PersonalAccessToken(token.clone()));
        }
        if let Some(tls) = &iggy.tls {
            use_tls(&mut tcp, tls)?;
        }
        // Middle-sized requests otherwise wait 44 ms for an acknowledgement.
        tcp.nodelay = true;
        // Whoever sends requests also reconnects: the client's own attempts would block a request past every deadline.
        tcp.reconnection = TcpClientReconnectionConfig {
            enabled: false,
            max_retries: Some(0),
            interval: NonZeroIggyDuration::ONE_SECOND,
            reestablish_after: IggyDuration::new(Duration::ZERO),
        };
        let identity = identity(&tcp.auto_login);
        Ok(Self { tcp, identity })
    }
}

fn from_address(iggy: &spec::Iggy) -> TcpClientConfig {
    TcpClientConfig {
        server_address: iggy.address.clone(),
        auto_login: AutoLogin::Enabled(Credentials::UsernamePassword(
            iggy.username.clone(),
            iggy.password.clone(),
        )),
        ..TcpClientConfig::default()
    }
}

/// The string holds a password: errors never repeat it.
fn from_connection_string(address: &str) -> Result<TcpClientConfig, Failure> {
    let scheme = address.split("://").next().unwrap_or_default();
    if !matches!(scheme, "iggy" | "iggy+tcp") {
        return Err(Failure::fatal(format!(
            "`[iggy] address` begins with `{scheme}://`; connectors speak TCP only: write `iggy://user:password@host:port` or \
             `host:port`"
        )));
    }
    let parsed = ConnectionString::<TcpConnectionStringOptions>::from_str(address).map_err(|_| {
        Failure::fatal(
            "`[iggy] address` is no valid connection string: write `iggy://user:password@host:port`, options such as \
             `?tls=true&tls_domain=name` behind it; a user or password with one of `:@?` needs `[iggy] username` and `password`",
        )
    })?;
    Ok(parsed.into())
}

fn use_tls(tcp: &mut TcpClientConfig, tls: &spec::IggyTls) -> Result<(), Failure> {
    tcp.tls_enabled = true;
    if let Some(domain) = &tls.domain {
        tcp.tls_domain.clone_from(domain);
    }
    if let Some(ca_file) = &tls.ca_file {
        tcp.tls_ca_file = Some(text(ca_file)?);
    }
    Ok(())
}

fn text(path: &Path) -> Result<String, Failure> {
    path.to_str()
        .map(str::to_owned)
        .ok_or_else(|| Failure::fatal("`[iggy.tls] ca_file` is not valid UTF-8"))
}

fn identity(login: &AutoLogin) -> String {
    match login {
        AutoLogin::Enabled(Credentials::UsernamePassword(user, _)) => format!("user `{user}`"),
        AutoLogin::Enabled(Credentials::PersonalAccessToken(_)) => {
            "the personal access token".to_owned()
        }
        AutoLogin::Disabled => "nobody".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use secrecy::{ExposeSecret, SecretString};

    use super::*;
    use crate::pipeline::FailureKind;

    fn iggy(address: &str) -> spec::Iggy {
        spec::Iggy {
            address: address.to_owned(),
            username: "alice".to_owned(),
            password: SecretString::from("secret"),
            token: None,
            request_timeout: Duration::from_secs(10),
            tls: None,
            embedded: None,
        }
    }

    fn login(settings: &Settings) -> (String, String) {
        match &settings.tcp.auto_login {
            AutoLogin::Enabled(Credentials::UsernamePassword(user, password)) => {
                (user.clone(), password.expose_secret().to_owned())
            }
            AutoLogin::Enabled(Credentials::PersonalAccessToken(token)) => {
                ("token".to_owned(), token.expose_secret().to_owned())
            }
            AutoLogin::Disabled => panic!("no login"),
        }
    }

    #[test]
    fn an_address_takes_user_and_password() {
        let settings = Settings::new(&iggy("localhost:8090")).unwrap();
        assert_eq!(settings.tcp.server_address, "localhost:8090");
        assert_eq!(login(&settings), ("alice".to_owned(), "secret".to_owned()));
        assert!(settings.tcp.nodelay);
        assert!(!settings.tcp.reconnection.enabled);
        assert_eq!(settings.identity, "user `alice`");
    }

    #[test]
    fn a_connection_string_brings_its_own_user_and_options() {
        let address = "iggy://bob:hidden@example.com:8090?tls=true&tls_domain=broker&reconnection_retries=unlimited";
        let settings = Settings::new(&iggy(address)).unwrap();
        assert_eq!(settings.tcp.server_address, "example.com:8090");
        assert_eq!(login(&settings), ("bob".to_owned(), "hidden".to_owned()));
        assert!(settings.tcp.tls_enabled);
        assert_eq!(settings.tcp.tls_domain, "broker");
        assert!(!settings.tcp.reconnection.enabled);
    }

    #[test]
    fn a_token_wins_over_user_and_password() {
        let mut iggy = iggy("localhost:8090");
        iggy.token = Some(SecretString::from("abc"));
        let settings = Settings::new(&iggy).unwrap();
        assert_eq!(login(&settings), ("token".to_owned(), "abc".to_owned()));
        assert_eq!(settings.identity, "the personal access token");
    }

    #[test]
    fn other_transports_and_broken_strings_are_refused_without_the_password() {
        for address in [
            "iggy+http://bob:hidden@localhost:3000",
            "iggy+quic://bob:hidden@localhost:3000",
            "iggy://bob:hid:den@localhost:8090",
            "iggy://bob:hidden@localhost:8090?unknown=hidden",
        ] {
            let failure = Settings::new(&iggy(address)).unwrap_err();
            assert_eq!(failure.kind, FailureKind::Fatal, "{address}");
            assert!(!failure.message.contains("hid"), "{}", failure.message);
        }
    }

    #[test]
    fn tls_settings_are_taken_over() {
        let mut iggy = iggy("localhost:8090");
        iggy.tls = Some(spec::IggyTls {
            ca_file: Some("/etc/ca.pem".into()),
            domain: Some("broker".to_owned()),
        });
        let tcp = Settings::new(&iggy).unwrap().tcp;
        assert!(tcp.tls_enabled && tcp.tls_validate_certificate);
        assert_eq!(tcp.tls_ca_file.as_deref(), Some("/etc/ca.pem"));
        assert_eq!(tcp.tls_domain, "broker");
    }
}
