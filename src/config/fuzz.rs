//! The file of the server's configuration, damaged: a configuration, or what is wrong, never a panic.

use super::server::is_listener_key;
use super::{ServerConfig, properties, table};
use crate::base::fuzzing::fuzz;

#[test]
fn a_properties_file_of_any_bytes_is_a_configuration_or_refused() {
    let files = [
        "node.id=3\nnode.count=2\nlisteners=PLAINTEXT://:9092,CONTROLLER://h:9193\n\
         controller.listener.names=CONTROLLER\nlog.dirs=/a,/b\nbroker.rack=r\n",
        "# comment\n! comment\nlog.retention.ms: 100\nnum.partitions 7\nadmin.listener=[::1]:9644\n\
         auto.create.topics.enable=\\\n   false\ncompression.type=zst\\u0064\n",
        "listener.name.outside.ssl.key.password=x\nlistener.security.protocol.map=OUT:PLAINTEXT\n\
         listeners=OUT://[::]:0\nadvertised.listeners=OUT://host:9\nnode.memory.bytes=1073741824\n\
         cache.bytes=67108864\nsocket.request.max.bytes=104857600\n",
    ];
    for file in files {
        ServerConfig::load(file, &[]).unwrap();
    }
    fuzz(&files.map(|file| ((), file.as_bytes().to_vec())), |(), bytes| {
        let text = String::from_utf8_lossy(bytes);
        let pairs = properties::parse(&text).unwrap_or_default();
        let size: usize = pairs.iter().map(|(key, value)| key.len() + value.len()).sum();
        assert!(size <= text.len());
        // The search for the name that was meant is what takes long, and is tested by itself.
        let is_known = |name: &str| table::broker_key(name).is_some() || is_listener_key(name);
        if !pairs.iter().all(|(name, _)| is_known(name.trim())) {
            return;
        }
        if let Ok(config) = ServerConfig::load(&text, &[]) {
            let count = config.node_count.unwrap_or(1);
            let mut nodes = (0..count.min(3)).map(|index| config.for_node(index));
            assert!(nodes.all(|node| !node.listeners.is_empty()));
        }
    });
}
