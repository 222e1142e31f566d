//! The daemons that the tests use, ready to start. Each function returns `None`, and reports the
//! skip, where the daemon is not installed or root is needed and missing.

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use crate::daemon::{Daemon, Place, Setup};
use crate::pki::Issued;
use crate::pki::der::pem;
use crate::skip::{require_command, require_root};

/// nginx with TLS on its port: answers `ok` to every request. `extra` goes into the `server` block.
pub fn nginx(issued: &Issued, extra: &str) -> Option<Daemon> {
    let program = require_command("nginx")?;
    Some(Setup::new("nginx").port("https").start(|place| {
        let (certificate, key) = issued.write_pem(place.folder(), "leaf");
        let folder = place.folder().display();
        let scratch: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|kind| format!("    {kind}_temp_path {folder}/{kind};\n"))
            .concat();
        let configuration = place.write(
            "nginx.conf",
            &format!(
                "daemon off;\nmaster_process off;\npid {folder}/pid;\nerror_log stderr;\n\
                 events {{}}\nhttp {{\n    access_log off;\n{scratch}    server {{\n\
                 listen {} ssl;\n ssl_certificate {};\n ssl_certificate_key {};\n{extra}\n\
                 location / {{ return 200 \"ok\\n\"; }}\n    }}\n}}\n",
                place.addr("https"),
                certificate.display(),
                key.display(),
            ),
        );
        let mut command = Command::new(&program);
        command.arg("-e").arg("stderr").arg("-p").arg(place.folder()).arg("-c").arg(configuration);
        command
    }))
}

/// haproxy with TLS on its port: answers 200 to every request. `extra` goes behind the `bind`
/// options, for instance `ssl-max-ver TLSv1.2`.
pub fn haproxy(issued: &Issued, extra: &str) -> Option<Daemon> {
    let program = require_command("haproxy")?;
    Some(Setup::new("haproxy").port("https").start(|place| {
        let bundle = place
            .write("bundle.pem", &format!("{}{}", issued.chain_pem(), issued.key.private_pem()));
        let configuration = place.write(
            "haproxy.cfg",
            &format!(
                "global\n    log stderr format raw daemon\ndefaults\n    mode http\n    \
                 timeout client 10s\n    timeout server 10s\n    timeout connect 10s\n\
                 frontend tests\n    bind {} ssl crt {bundle} {extra}\n    \
                 http-request return status 200 content-type text/plain string ok\n",
                place.addr("https"),
            ),
        );
        let mut command = Command::new(&program);
        command.arg("-db").arg("-f").arg(configuration);
        command
    }))
}

/// redis without TLS.
pub fn redis() -> Option<Daemon> {
    let program = require_command("redis-server")?;
    Some(Setup::new("redis").port("redis").start(|place| {
        let mut command = redis_command(&program, place);
        command.args(["--port", &place.addr("redis").port().to_string()]);
        command
    }))
}

/// redis with TLS only.
pub fn redis_tls(issued: &Issued) -> Option<Daemon> {
    let program = require_command("redis-server")?;
    Some(Setup::new("redis").port("redis").start(|place| {
        let (certificate, key) = issued.write_pem(place.folder(), "leaf");
        let mut command = redis_command(&program, place);
        command.args(["--port", "0", "--tls-port", &place.addr("redis").port().to_string()]);
        command.arg("--tls-cert-file").arg(&certificate).arg("--tls-key-file").arg(key);
        command.arg("--tls-ca-cert-file").arg(certificate).args(["--tls-auth-clients", "no"]);
        command
    }))
}

fn redis_command(program: &Path, place: &Place) -> Command {
    let mut command = Command::new(program);
    command.args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir"]);
    command.arg(place.folder());
    command
}

/// `openssl s_server` with this certificate and any further arguments, for instance `-tls1_2`,
/// `-Verify 1 -CAfile ...`, `-status_file ...`. It sends back what it gets in reverse, line by line,
/// unless told otherwise.
pub fn openssl_server(issued: &Issued, arguments: &[&str]) -> Option<Daemon> {
    let program = require_command("openssl")?;
    Some(Setup::new("s_server").port("tls").start(|place| {
        let (certificate, key) = issued.write_pem(place.folder(), "leaf");
        let mut command = Command::new(&program);
        command.args(["s_server", "-accept", &place.addr("tls").to_string()]);
        command.arg("-cert").arg(&certificate).arg("-key").arg(key);
        // What stands behind the leaf; the leaf in it would be sent twice.
        let rest: String = issued.chain.iter().skip(1).map(|one| pem("CERTIFICATE", one)).collect();
        if !rest.is_empty() {
            command.arg("-cert_chain").arg(place.write("rest.crt", &rest));
        }
        command.args(arguments);
        command
    }))
}

/// OpenSSH with a host key of its own. Nobody can log in.
pub fn sshd() -> Option<Daemon> {
    let (program, keygen) = (require_command("sshd")?, require_command("ssh-keygen")?);
    require_root()?;
    // Compiled in; its own service makes it at boot.
    _ = std::fs::create_dir("/run/sshd");
    Some(Setup::new("sshd").port("ssh").start(|place| {
        let host_key = place.folder().join("host_key");
        let mut make_key = Command::new(&keygen);
        make_key.args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(&host_key);
        run("ssh-keygen", &mut make_key);
        let configuration = place.write(
            "sshd_config",
            &format!(
                "ListenAddress {}\nHostKey {}\nPidFile none\nUsePAM no\n\
                 PasswordAuthentication no\nAuthorizedKeysFile none\n",
                place.addr("ssh"),
                host_key.display(),
            ),
        );
        let mut command = Command::new(&program);
        command.arg("-D").arg("-e").arg("-f").arg(configuration);
        command
    }))
}

/// postfix with only its SMTP server: port `smtp`. With a certificate it offers STARTTLS. `extra` are
/// lines for `main.cf`; a `smtpd_tls_key_file` that does not exist makes it answer STARTTLS with 454.
pub fn postfix(issued: Option<&Issued>, extra: &str) -> Option<Daemon> {
    let program = require_command("postfix")?;
    require_root()?;
    Some(Setup::new("postfix").port("smtp").start(|place| {
        let folder = place.folder().display();
        let tls = issued.map(|issued| {
            let (certificate, key) = issued.write_pem(place.folder(), "leaf");
            format!(
                "smtpd_tls_security_level = may\nsmtpd_tls_cert_file = {}\n\
                 smtpd_tls_key_file = {}\n",
                certificate.display(),
                key.display(),
            )
        });
        for name in ["queue", "data"] {
            std::fs::create_dir(place.folder().join(name)).expect("own folder");
        }
        let (user, group) = user("postfix");
        std::os::unix::fs::chown(place.folder().join("data"), Some(user), Some(group))
            .expect("root may");
        place.write(
            "main.cf",
            &format!(
                "compatibility_level = 3.6\nqueue_directory = {folder}/queue\n\
                 data_directory = {folder}/data\ncommand_directory = /usr/sbin\n\
                 daemon_directory = /usr/lib/postfix/sbin\nmyhostname = mail.test\n\
                 inet_interfaces = 127.0.0.1\ninet_protocols = ipv4\nmynetworks = 127.0.0.0/8\n\
                 smtpd_banner = $myhostname ESMTP\nmaillog_file = /dev/stdout\n\
                 alias_maps =\nalias_database =\nlocal_recipient_maps =\n{}{extra}\n",
                tls.unwrap_or_default(),
            ),
        );
        place.write(
            "master.cf",
            &format!(
                "{} inet n - n - - smtpd\ncleanup unix n - n - 0 cleanup\n\
                 rewrite unix - - n - - trivial-rewrite\nproxymap unix - - n - - proxymap\n\
                 tlsmgr unix - - n 1000? 1 tlsmgr\nanvil unix - - n - 1 anvil\n\
                 postlog unix-dgram n - n - 1 postlogd\n",
                place.addr("smtp"),
            ),
        );
        // Makes the queue's folders.
        run("postfix", Command::new(&program).arg("-c").arg(place.folder()).arg("check"));
        // `postfix start-fg` would put the master into a session of its own, out of reach of the
        // signal that ends the group; `-d` keeps it here, `-s` lets it log to standard output.
        let mut command = Command::new("/usr/lib/postfix/sbin/master");
        command.arg("-c").arg(place.folder()).args(["-d", "-s"]);
        command
    }))
}

/// dovecot with the ports `imap`, `imaps`, `pop3` and `pop3s`; the plain ones offer STARTTLS. Any user
/// may log in with the password `secret`.
pub fn dovecot(issued: &Issued) -> Option<Daemon> {
    let program = require_command("dovecot")?;
    require_root()?;
    let setup = Setup::new("dovecot").port("imap").port("imaps").port("pop3").port("pop3s");
    Some(setup.start(|place| {
        let (certificate, key) = issued.write_pem(place.folder(), "leaf");
        let folder = place.folder().display();
        let (user, group) = user("nobody");
        let mail = place.folder().join("mail");
        std::fs::create_dir(&mail).expect("own folder");
        std::os::unix::fs::chown(&mail, Some(user), Some(group)).expect("root may");
        let service = |name: &str, secure: &str| {
            format!(
                "service {name}-login {{\n  inet_listener {name} {{\n    port = {}\n  }}\n  \
                 inet_listener {secure} {{\n    port = {}\n    ssl = yes\n  }}\n}}\n",
                place.addr(name).port(),
                place.addr(secure).port(),
            )
        };
        let configuration = place.write(
            "dovecot.conf",
            &format!(
                "base_dir = {folder}/run\nstate_dir = {folder}/state\nlog_path = /dev/stderr\n\
                 protocols = imap pop3\nlisten = 127.0.0.1\nssl = yes\nssl_cert = <{}\n\
                 ssl_key = <{}\nfirst_valid_uid = 1\nmail_location = maildir:{folder}/mail/%u\n\
                 passdb {{\n  driver = static\n  args = password=secret\n}}\n\
                 userdb {{\n  driver = static\n  args = uid={user} gid={group} home={folder}/mail\n\
                 }}\n{}{}",
                certificate.display(),
                key.display(),
                service("imap", "imaps"),
                service("pop3", "pop3s"),
            ),
        );
        let mut command = Command::new(&program);
        command.arg("-F").arg("-c").arg(configuration);
        command
    }))
}

/// PostgreSQL with `ssl = on`, trusting everyone on loopback.
pub fn postgresql(issued: &Issued) -> Option<Daemon> {
    let initdb = require_command("initdb")?;
    // The server of the same installation: another one may come first in PATH.
    let initdb = initdb.canonicalize().unwrap_or(initdb);
    let program = initdb.with_file_name("postgres");
    require_root()?;
    let (user, group) = user("postgres");
    // A fast end; SIGTERM would wait for the clients.
    let setup = Setup::new("postgresql").port("postgresql").stop_signal(libc::SIGQUIT);
    // It listens while it still recovers, and then answers that it is starting up. The last line of
    // its lock file says when that is over.
    let setup = setup.ready_when(|place| {
        let lock = std::fs::read_to_string(place.folder().join("data/postmaster.pid"));
        lock.is_ok_and(|lock| lock.lines().last().is_some_and(|state| state.trim() == "ready"))
    });
    Some(setup.start(|place| {
        let (certificate, key) = issued.write_pem(place.folder(), "leaf");
        for path in [place.folder(), &certificate, &key] {
            std::os::unix::fs::chown(path, Some(user), Some(group)).expect("root may");
        }
        let data = place.folder().join("data");
        let as_postgres = |program: &Path| {
            let mut command = Command::new(program);
            command.uid(user).gid(group).current_dir(place.folder()).arg("-D").arg(&data);
            command
        };
        let mut make = as_postgres(&initdb);
        make.args(["--auth=trust", "--no-sync", "--locale=C", "--encoding=UTF8"]);
        make.args(["--username=postgres", "--no-instructions"]);
        run("initdb", &mut make);
        let mut command = as_postgres(&program);
        let port = place.addr("postgresql").port();
        let settings = [
            "listen_addresses=127.0.0.1".to_owned(),
            format!("port={port}"),
            format!("unix_socket_directories={}", place.folder().display()),
            "fsync=off".to_owned(),
            "ssl=on".to_owned(),
            format!("ssl_cert_file={}", certificate.display()),
            format!("ssl_key_file={}", key.display()),
        ];
        settings.iter().for_each(|setting| _ = command.arg("-c").arg(setting));
        command
    }))
}

/// Runs a helper program to its end.
pub(super) fn run(name: &str, command: &mut Command) {
    let output = command.output().unwrap_or_else(|error| panic!("cannot start {name}: {error}"));
    assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
}

/// The ids of a user of the system.
fn user(name: &str) -> (u32, u32) {
    let users = std::fs::read_to_string("/etc/passwd").expect("/etc/passwd can be read");
    let line = users.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    let mut fields = line.unwrap_or_else(|| panic!("no user {name}")).split(':').skip(1);
    let mut id = || fields.next().and_then(|id| id.parse().ok()).expect("a number");
    (id(), id())
}
