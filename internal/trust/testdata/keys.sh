#!/bin/sh
# Makes the keys in testdata/keys: test keys, good for nothing else. The passphrase of
# every encrypted one is "correct horse". Run from this folder, with OpenSSL 3.
set -eu
cd "$(dirname "$0")/keys"
pass='pass:correct horse'
openssl ecparam -name prime256v1 -genkey -out ec-sec1-with-parameters.pem
openssl ec -in ec-sec1-with-parameters.pem -out ec-sec1.pem 2>/dev/null
openssl pkcs8 -topk8 -nocrypt -in ec-sec1.pem -out ec-pkcs8.pem
openssl ec -in ec-sec1.pem -aes256 -passout "$pass" -out ec-dek-aes256.pem 2>/dev/null
openssl ec -in ec-sec1.pem -pubout -out ec-public.pem 2>/dev/null
openssl pkey -in ec-sec1.pem -outform DER -out ec-pkcs8.der
openssl ec -in ec-sec1.pem -outform DER -out ec-sec1.der 2>/dev/null
openssl req -new -x509 -key ec-sec1.pem -days 36500 -subj /CN=alice -out ec-certificate.pem
openssl genrsa -traditional -out rsa-pkcs1.pem 2048
openssl pkcs8 -topk8 -nocrypt -in rsa-pkcs1.pem -out rsa-pkcs8.pem
openssl rsa -in rsa-pkcs1.pem -traditional -des3 -passout "$pass" -out rsa-dek-des3.pem 2>/dev/null
openssl genrsa -traditional -out rsa-1024.pem 1024
openssl genpkey -algorithm ed25519 -out ed25519-pkcs8.pem
openssl ecparam -name secp384r1 -genkey -noout -out ec-p384-sec1.pem
openssl ecparam -name secp521r1 -genkey -noout -out ec-p521-sec1.pem
openssl ecparam -name secp256k1 -genkey -noout -out ec-secp256k1.pem
openssl ecparam -name brainpoolP256r1 -genkey -noout -out ec-brainpool.pem
openssl ecparam -name prime256v1 -param_enc explicit -genkey -noout -out ec-explicit.pem
openssl dsaparam -out dsaparam.tmp 1024 2>/dev/null && openssl gendsa -out dsa.pem dsaparam.tmp 2>/dev/null && rm dsaparam.tmp
openssl genpkey -algorithm x25519 -out x25519-pkcs8.pem
# OpenSSL 1.1 and 3 by default: PBKDF2 with HMAC-SHA256, AES-256-CBC.
openssl pkcs8 -topk8 -in ec-sec1.pem -passout "$pass" -out ec-pbes2-default.pem
# As notary itself writes it.
openssl pkcs8 -topk8 -in ec-sec1.pem -passout "$pass" -v2 aes-256-cbc -v2prf hmacWithSHA1 -out ec-pbes2-sha1.pem
for prf in 224 256 384 512; do
	openssl pkcs8 -topk8 -in ec-sec1.pem -passout "$pass" -v2 aes-128-cbc -v2prf hmacWithSHA$prf -iter 1000 -out ec-pbes2-sha$prf-aes128.pem
done
openssl pkcs8 -topk8 -in rsa-pkcs1.pem -passout "$pass" -v2 aes-192-cbc -out rsa-pbes2-aes192.pem
openssl pkcs8 -topk8 -in ec-sec1.pem -passout "$pass" -v2 des3 -v2prf hmacWithSHA1 -out ec-pbes2-des3.pem
openssl pkcs8 -topk8 -in ec-sec1.pem -passout "$pass" -scrypt -out ec-scrypt.pem
openssl pkcs8 -topk8 -in ed25519-pkcs8.pem -passout "$pass" -out ed25519-pbes2.pem
# OpenSSL 1.0 by default, and what it offered instead.
openssl pkcs8 -topk8 -in ec-sec1.pem -passout "$pass" -v1 PBE-MD5-DES -provider legacy -provider default -out ec-pbes1-md5-des.pem
openssl pkcs8 -topk8 -in ec-sec1.pem -passout "$pass" -v1 PBE-SHA1-3DES -out ec-pbes1-sha1-3des.pem
openssl pkcs8 -topk8 -in ec-sec1.pem -passout "$pass" -v2 aes-256-gcm -out ec-pbes2-gcm.pem 2>/dev/null || rm -f ec-pbes2-gcm.pem
openssl pkcs12 -export -inkey ec-sec1.pem -in ec-certificate.pem -passout "$pass" -out ec.p12
ssh-keygen -q -t ecdsa -N '' -C test -f openssh.pem && mv openssh.pem.pub openssh-public.txt
