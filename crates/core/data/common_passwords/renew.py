#!/usr/bin/env python3
"""Makes passwords.txt from the packages that README.md names:
renew.py common-passwords.txt.gz frequency_lists.js > passwords.txt"""

import gzip
import re
import sys
import unicodedata

with gzip.open(sys.argv[1], "rt", encoding="utf-8") as file:
    words = [line.rstrip("\r\n") for line in file]
with open(sys.argv[2], encoding="utf-8") as file:
    words += re.search(r'passwords:\s*"([^"]*)"', file.read()).group(1).split(",")

kept = set()
for word in words:
    # As the check normalises what it looks up.
    word = unicodedata.normalize("NFKC", word).lower().strip()
    # U+FFFD in three bytes, read as Windows-1251: what was lost is nobody's password.
    lost = "\u043f\u0457\u0455" in word or "\ufffd" in word
    if word and not lost and not any(unicodedata.category(letter)[0] == "C" for letter in word):
        kept.add(word.encode())
sys.stdout.buffer.write(b"\n".join(sorted(kept)) + b"\n")
