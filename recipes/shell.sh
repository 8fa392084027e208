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

# The words of a text. A part in single or double quotes is one word. A backslash has no special meaning.
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

# A value in quotes, so that Hydra takes it as it is. Quotes in it are escaped. A backslash is a backslash for Hydra,
# except before a quote, where two of them are read as one.
quoted() { # VALUE
    printf "'%s'" "$(printf '%s' "$1" | sed -e "s/\\(\\\\*\\)'/\\1\\1\\\\'/g" -e '$s/\(\\*\)$/\1\1/')"
}

# The functions below are for recipes with a folder config/ whose runs have twins at equal tokens. They read the variables
# RECIPE_DIR, PYTHON, METHOD, MATCH and MEASURED, and the arrays CONFIG (where the configuration is) and COMMON (the
# arguments of all methods).

names() { # FOLDER of config: its YAML files, without their ending
    local path
    for path in "$RECIPE_DIR/config/$1"/*.yaml; do basename "$path" .yaml; done
}

method_arguments() { # sets METHOD_ARGS
    METHOD_ARGS=()
    case $METHOD in
    random) METHOD_ARGS+=(algorithm.gpo.search=random) ;;
    plain)
        # verl's own estimator instead of GPO's.
        METHOD_ARGS+=(algorithm.gpo.enable=false "algorithm.adv_estimator=\${recipe.estimator}" algorithm.gpo.base_estimator=null)
        ;;
    esac
}

_plan() { # OPTION...: the command of the plan
    PLAN=("$PYTHON" -m verl_gpo.plan "${CONFIG[@]}" "$@")
    if [[ -n $MEASURED ]]; then PLAN+=(--measured "$MEASURED"); fi
}

twin_arguments() { # ARGUMENT...: sets EQUAL, the numbers of a twin at equal tokens
    local equal
    EQUAL=()
    if [[ $METHOD == gpo || $MATCH == none ]]; then return; fi
    _plan --twin "$METHOD" --match "$MATCH"
    equal=$("${PLAN[@]}" "${COMMON[@]}" "$@")
    if [[ -n $equal ]]; then mapfile -t EQUAL <<<"$equal"; fi
}

dry_run() { # ARGUMENT...: prints the plan, and ends the script
    _plan
    exec "${PLAN[@]}" "${COMMON[@]}" "${METHOD_ARGS[@]}" "$@" "${EQUAL[@]}"
}
