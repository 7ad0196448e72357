#!/usr/bin/env bash
# Installs the clients that the tests use: install.sh DIRECTORY. What is there is left alone.
# System packages (kcat, Java, Maven, Python's venv, and mkfs.xfs for tests/faults) through apt-get where that can be done.
set -euo pipefail
dir=$1
here=$(dirname "$0")
mkdir -p "$dir"

fail() { echo "make clients: $1" >&2; exit 1; }
packages=()
type -P kcat >/dev/null || packages+=(kcat)
type -P javac >/dev/null || packages+=(default-jdk-headless)
type -P mvn >/dev/null || packages+=(maven)
type -P mkfs.xfs >/dev/null || packages+=(xfsprogs)
type -P valgrind >/dev/null || packages+=(valgrind)
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

if ! current "$here/requirements.txt" "$dir/requirements.txt"; then
    rm -rf "$dir/python"
    python3 -m venv "$dir/python" &&
        timeout 600 "$dir/python/bin/pip" install -q --disable-pip-version-check -r "$here/requirements.txt" ||
        fail "pip could not install $here/requirements.txt"
    cp "$here/requirements.txt" "$dir/"
fi
if ! current "$here/java/pom.xml" "$dir/pom.xml"; then
    rm -rf "$dir/java"
    copy=org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies
    timeout 600 mvn -B -q -f "$here/java/pom.xml" "$copy" -DoutputDirectory="$(realpath "$dir")/java" ||
        fail "Maven could not fetch the jars of $here/java/pom.xml"
    cp "$here/java/pom.xml" "$dir/"
fi
