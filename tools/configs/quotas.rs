//! Quotas of users, clients and addresses, and which users have a password, shown and set with the
//! requests of their own.

use std::collections::BTreeMap;

use klamm::client::blocking::Client;
use klamm::client::{ClientError, To, Typed};
use klamm::msg;
use klamm::wire::ErrorCode;
use klamm::wire::messages::alter_client_quotas_request::{EntityData, EntryData, OpData};
use klamm::wire::messages::describe_client_quotas_request::ComponentData;
use klamm::wire::messages::describe_client_quotas_response::EntryData as Entry;
use klamm::wire::messages::describe_user_scram_credentials_request::UserName;
use klamm::wire::messages::{
    AlterClientQuotasRequest, DescribeClientQuotasRequest, DescribeUserScramCredentialsRequest,
};

use super::options::{CLIENTS, IPS, Kind, Task, USERS};
use crate::tools::cli::{Outcome, ToolError};

/// Keys of users and clients, and of addresses.
const RATES: [&str; 4] =
    ["producer_byte_rate", "consumer_byte_rate", "request_percentage", "controller_mutation_rate"];
const CONNECTIONS: [&str; 1] = ["connection_creation_rate"];
const MECHANISMS: [&str; 2] = ["SCRAM-SHA-256", "SCRAM-SHA-512"];

/// An exact name, the default of all, or any: how an entity is asked for.
const EXACT: i8 = 0;
const DEFAULT: i8 = 1;
const ANY: i8 = 2;

/// Types of entities in requests, and in words, in the order in which they are told.
const TYPES: [(Kind, &str, &str); 3] =
    [(USERS, "user", "user-principal"), (CLIENTS, "client-id", "client-id"), (IPS, "ip", "ip")];

fn wire_name(kind: Kind) -> &'static str {
    TYPES.iter().find(|(k, ..)| *k == kind).map_or("", |(_, name, _)| name)
}

/// Shows what is set for the entities of a task.
pub(super) fn describe(client: &mut Client, task: &Task) -> Outcome<()> {
    for entry in entries(client, task)? {
        let named = TYPES.iter().filter_map(|(_, name, words)| {
            let part = entry.entity.iter().find(|part| part.entity_type.as_str() == *name)?;
            let name = part.entity_name.as_deref();
            Some(name.map_or_else(|| format!("the default {words}"), |n| format!("{words} '{n}'")))
        });
        let values = entry.values.iter().map(|v| format!("{}={}", v.key.as_str(), double(v.value)));
        let [named, values] = [named.collect::<Vec<_>>(), values.collect()].map(|l| l.join(", "));
        println!("Quota configs for {named} are {values}");
    }
    let is_default = task.name.as_deref() == Some("");
    if task.kind == USERS && task.with.is_none() && !is_default {
        describe_passwords(client, task.name.as_deref())?;
    }
    Ok(())
}

fn entries(client: &mut Client, task: &Task) -> Outcome<Vec<Entry>> {
    let component = |(kind, name): (Kind, Option<&str>)| {
        let match_type = match name {
            None => ANY,
            Some("") => DEFAULT,
            Some(_) => EXACT,
        };
        let match_ = name.filter(|name| !name.is_empty()).map(Into::into);
        msg!(ComponentData { entity_type: wire_name(kind).into(), match_type, match_ })
    };
    let components = task.entities().map(component).collect();
    let request = msg!(DescribeClientQuotasRequest { components, strict: true });
    let answer = client.ask(To::Any, Typed::new(request))?;
    let message = answer.error_message.as_deref();
    ClientError::check("DescribeClientQuotas", answer.error_code, message)?;
    Ok(answer.entries.unwrap_or_default())
}

fn describe_passwords(client: &mut Client, user: Option<&str>) -> Outcome<()> {
    let users = user.map(|name| vec![msg!(UserName { name: name.into() })]);
    let request = msg!(DescribeUserScramCredentialsRequest { users });
    let answer = client.ask(To::Any, Typed::new(request))?;
    let message = answer.error_message.as_deref();
    ClientError::check("DescribeUserScramCredentials", answer.error_code, message)?;
    for result in answer.results {
        if ErrorCode(result.error_code) == ErrorCode::RESOURCE_NOT_FOUND {
            continue;
        }
        let message = result.error_message.as_deref();
        ClientError::check("DescribeUserScramCredentials", result.error_code, message)?;
        let mechanism = |number: i8| match number {
            1 => MECHANISMS[0],
            2 => MECHANISMS[1],
            _ => "UNKNOWN",
        };
        let infos = result.credential_infos.iter();
        let infos =
            infos.map(|i| format!("{}=iterations={}", mechanism(i.mechanism), i.iterations));
        let (user, infos) = (result.user.as_str(), infos.collect::<Vec<_>>().join(", "));
        println!("SCRAM credential configs for user-principal '{user}' are {infos}");
    }
    Ok(())
}

/// Sets and removes quotas of the entity of a task.
pub(super) fn alter(
    client: &mut Client,
    task: &Task,
    change: &BTreeMap<String, Option<String>>,
) -> Outcome<()> {
    check(task, change).map_err(ToolError::Failed)?;
    let old = entries(client, task)?;
    let is_set = |key: &str| old.iter().flat_map(|e| &e.values).any(|v| v.key.as_str() == key);
    let missing = change.iter().filter(|(key, value)| value.is_none() && !is_set(key));
    let missing: Vec<_> = missing.map(|(key, _)| key.as_str()).collect();
    if !missing.is_empty() {
        return Err(ToolError::Failed(format!("Invalid config(s): {}", missing.join(","))));
    }
    let op = |(key, value): (&String, &Option<String>)| {
        let number = value.as_deref().map_or(Ok(0.0), str::parse).map_err(|_| {
            let text = value.as_deref().unwrap_or_default();
            let what = format!("Cannot parse quota configuration value for {key}: {text}");
            ToolError::Failed(what)
        });
        let (key, remove) = (key.as_str().into(), value.is_none());
        Ok(msg!(OpData { key, value: number?, remove }))
    };
    let ops = change.iter().map(op).collect::<Outcome<_>>()?;
    let entity = |(kind, name): (Kind, Option<&str>)| {
        let entity_name = name.filter(|name| !name.is_empty()).map(Into::into);
        msg!(EntityData { entity_type: wire_name(kind).into(), entity_name })
    };
    let entries = vec![msg!(EntryData { entity: task.entities().map(entity).collect(), ops })];
    let answer = client.ask(To::Any, Typed::new(msg!(AlterClientQuotasRequest { entries })))?;
    for entry in &answer.entries {
        let message = entry.error_message.as_deref();
        ClientError::check("AlterClientQuotas", entry.error_code, message)?;
    }
    Ok(())
}

/// Whether these keys are those of the entity, in the words of Kafka's tool.
fn check(task: &Task, change: &BTreeMap<String, Option<String>>) -> Result<(), String> {
    let has_clients = task.entities().any(|(kind, _)| kind == CLIENTS);
    let is_password = |key: &str| MECHANISMS.contains(&key);
    let is_known = |key: &str| match task.kind {
        IPS => CONNECTIONS.contains(&key),
        _ => RATES.contains(&key) || is_password(key) && !has_clients,
    };
    let unknown = |added: bool| {
        let of = change.iter().filter(move |(_, value)| value.is_some() == added);
        let keys: Vec<_> = of.map(|(key, _)| key.as_str()).filter(|key| !is_known(key)).collect();
        (!keys.is_empty()).then(|| keys.join(if task.kind == IPS { "," } else { ", " }))
    };
    for (verb, list, added) in [("added", "Set", true), ("deleted", "ArrayBuffer", false)] {
        let Some(keys) = unknown(added) else { continue };
        let (what, whose, verb, keys) = match task.kind {
            IPS => ("connection quota", "ips", "added", keys),
            _ if has_clients => ("quota", "clients", verb, format!("{list}({keys})")),
            _ => ("quota and SCRAM credential", "users", verb, format!("{list}({keys})")),
        };
        return Err(format!(
            "Only {what} configs can be {verb} for '{whose}' using --bootstrap-server. Unexpected \
             config names: {keys}"
        ));
    }
    let passwords = change.keys().filter(|key| is_password(key)).count();
    match passwords {
        0 => Ok(()),
        _ if passwords < change.len() => {
            Err("Cannot alter both quota and SCRAM credential configs \
             simultaneously for 'users' using --bootstrap-server."
                .to_owned())
        }
        _ if task.name.as_deref() == Some("") => Err("The use of --entity-default or \
             --user-defaults is not allowed with User SCRAM Credentials using --bootstrap-server."
            .to_owned()),
        _ => {
            Err("Passwords cannot be set with this tool: SASL does not exist here yet.".to_owned())
        }
    }
}

/// A number as Java prints it.
fn double(value: f64) -> String {
    if value == 0.0 || (1e-3..1e7).contains(&value.abs()) {
        return format!("{value:?}");
    }
    let text = format!("{value:E}");
    if text.contains('.') { text } else { text.replacen('E', ".0E", 1) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_those_of_java() {
        let texts = [0.0, 5.0, 12.5, 1e7, 12_345_678.25, 2e9, 0.001, 0.0001].map(double);
        let wants = ["0.0", "5.0", "12.5", "1.0E7", "1.234567825E7", "2.0E9", "0.001", "1.0E-4"];
        assert_eq!(texts, wants);
    }
}
