// What is asked of the broker.

const KEY = 'sol.authorization'

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms))

// An answer of the API. Asks who the user is where that is needed, and fails with what the broker says.
async function ask(path, options = {}) {
    for (;;) {
        const authorization = sessionStorage.getItem(KEY)
        const headers = { 'X-Sol': '1', ...options.headers }
        if (authorization) headers.Authorization = authorization
        let answer
        try {
            // Without the browser's own credentials, so that it does not ask for them either.
            answer = await fetch(path, { ...options, headers, cache: 'no-store', credentials: 'omit' })
        } catch (error) {
            throw error.name === 'AbortError' ? error : new Error('The broker does not answer.')
        }
        if (answer.ok) return answer
        const { error } = await answer.json().catch(() => ({ error: `HTTP ${answer.status}` }))
        if (answer.status !== 401) throw Object.assign(new Error(error), { status: answer.status })
        // Another request may have been let in meanwhile.
        if (authorization === sessionStorage.getItem(KEY)) await signIn(error)
    }
}

const askJson = async (path, options) => (await ask(path, options)).json()

// `{name: value}` as a query; lists are given several times, and what is empty is left out.
function query(values) {
    const pairs = Object.entries(values).flatMap(([name, value]) => [value].flat().map((one) => [name, one]))
    const given = pairs.filter(([, value]) => value !== '' && value !== null)
    return given.map(([name, value]) => `${name}=${encodeURIComponent(value)}`).join('&')
}

const clientPath = (id) => `api/v1/clients/${encodeURIComponent(id)}`

let signingIn = null

// Waits until somebody said who they are.
function signIn(why) {
    write(byId('sign-in-why'), why)
    signingIn ??= new Promise((resolve) => {
        const dialog = byId('sign-in')
        const [user, secret] = [byId('sign-in-user'), byId('sign-in-secret')]
        // There is nothing to see without.
        dialog.oncancel = (event) => event.preventDefault()
        dialog.onclose = () => signingIn && dialog.showModal()
        dialog.querySelector('form').onsubmit = (event) => {
            event.preventDefault()
            const bytes = new TextEncoder().encode(`${user.value}:${secret.value}`)
            const basic = () => `Basic ${btoa(String.fromCharCode(...bytes))}`
            sessionStorage.setItem(KEY, user.value ? basic() : `Bearer ${secret.value.trim()}`)
            secret.value = ''
            byId('leave').hidden = false
            signingIn = null
            dialog.close()
            resolve()
        }
        dialog.showModal()
        secret.focus()
    })
    return signingIn
}

byId('leave').hidden = !sessionStorage.getItem(KEY)
byId('leave').onclick = () => {
    sessionStorage.removeItem(KEY)
    location.reload()
}

// Follows server-sent events, and connects again when they break off. Not by EventSource, which cannot say who asks.
// `on` has `event(name, data)`, `open()`, and `lost(error)`. Gives what ends it.
function follow(path, on) {
    const ending = new AbortController()
    const { signal } = ending
    const run = async () => {
        for (let wait = 500; !signal.aborted; wait = Math.min(wait * 2, 8_000)) {
            try {
                const answer = await ask(path, { signal })
                on.open?.()
                const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader()
                for (let rest = ''; ;) {
                    const { value, done } = await reader.read()
                    if (done) break
                    wait = 500
                    const parts = (rest + value).split('\n\n')
                    rest = parts.pop()
                    for (const part of parts) tell(part, on)
                }
                on.lost?.(new Error('The broker ended it.'))
            } catch (error) {
                if (signal.aborted) return
                on.lost?.(error)
                // What it refuses it refuses again.
                if (error.status === 400) return
            }
            await pause(wait)
        }
    }
    run()
    return () => ending.abort()
}

function tell(part, on) {
    let [name, data] = ['message', '']
    for (const text of part.split('\n')) {
        if (text.startsWith('event: ')) name = text.slice(7)
        else if (text.startsWith('data: ')) data += text.slice(6)
    }
    if (data) on.event(name, JSON.parse(data))
}

const publish = (message) =>
    askJson('api/v1/publish', {
        method: 'POST',
        headers: { 'Content-Type': 'application/json' },
        body: JSON.stringify(message),
    })
