# Functions that the recipes' scripts share; to be sourced.
# shellcheck shell=bash

refused() { # MESSAGE
    echo "$1" >&2
    exit 2
}

one_of() { # NAME VALUE CHOICE...
    local name=$1 value=$2 choice
    shift 2
    for choice in "$@"; do if [[ $choice == "$value" ]]; then return; fi; done
    refused "$name=$value: must be one of $*"
}

count() { # NAME VALUE: an integer of at least 1
    [[ $2 =~ ^[1-9][0-9]*$ ]] || refused "$1=$2: must be an integer of at least 1"
}

program() { # NAME VALUE: something that can be run
    command -v -- "$2" >/dev/null || refused "$1=$2: no such program"
}

# The words of a text. What is quoted, by either kind of quotes, is one word; backslashes stand for themselves.
words() { # ARRAY NAME TEXT: of a variable of that name
    local -n found=$1
    local text=$3 word="" begun="" quote="" character i
    found=()
    for ((i = 0; i < ${#text}; i++)); do
        character=${text:i:1}
        if [[ -n $quote ]]; then
            if [[ $character == "$quote" ]]; then quote=""; else word+=$character; fi
        elif [[ $character == [\'\"] ]]; then
            quote=$character begun=1
        elif [[ $character != [[:space:]] ]]; then
            word+=$character begun=1
        elif [[ -n $begun ]]; then
            found+=("$word")
            word="" begun=""
        fi
    done
    [[ -z $quote ]] || refused "$2=$text: a quote is not closed"
    if [[ -n $begun ]]; then found+=("$word"); fi
}

# A value that Hydra takes as it is, whatever is in it: quoted, with the quotes in it escaped. Backslashes count as
# backslashes but in front of a quote, where Hydra takes two for one.
quoted() { # VALUE
    printf "'%s'" "$(printf '%s' "$1" | sed -e "s/\\(\\\\*\\)'/\\1\\1\\\\'/g" -e '$s/\(\\*\)$/\1\1/')"
}
