// Figures and times in words.

const short = new Intl.NumberFormat('en', { notation: 'compact', maximumSignificantDigits: 3 })
const exact = new Intl.NumberFormat('en')

const count = (n) =>
    n === null || n === undefined ? '–' : Math.abs(n) < 10_000 ? exact.format(Math.round(n)) : short.format(n)

const counted = (n, word) => `${count(n)} ${word}${n === 1 ? '' : 's'}`

const rate = (n) => (n === null || n === undefined ? '–' : n > 0 && n < 10 ? String(+n.toFixed(1)) : count(n))

// As in the configuration, 1 KB is 1,024 bytes.
function size(bytes) {
    if (bytes === null || bytes === undefined) return '–'
    for (const unit of ['B', 'KB', 'MB', 'GB']) {
        if (bytes < 1000)
            return `${unit === 'B' || bytes >= 100 ? Math.round(bytes) : +bytes.toFixed(bytes < 10 ? 2 : 1)} ${unit}`
        bytes /= 1024
    }
    return `${+bytes.toFixed(1)} TB`
}

function milliseconds(seconds) {
    if (seconds === null || seconds === undefined) return '–'
    const ms = seconds * 1000
    return ms >= 1000 ? `${+seconds.toFixed(1)} s` : `${+ms.toPrecision(ms < 1 ? 1 : 2)} ms`
}

// The two largest units of it.
function span(seconds) {
    const units = [
        ['d', 86_400],
        ['h', 3_600],
        ['min', 60],
        ['s', 1],
    ]
    const n = units.findIndex(([, length]) => seconds >= length)
    if (n < 0) return '0 s'
    const parts = []
    for (const [unit, length] of units.slice(n, n + 2)) {
        const whole = Math.floor(seconds / length)
        seconds -= whole * length
        if (whole > 0) parts.push(`${whole} ${unit}`)
    }
    return parts.join(' ')
}

// How far the broker's clock is ahead of this one's.
let skew = 0

const ago = (time) => (time ? span((Date.now() + skew - new Date(time)) / 1000) : '–')

const clock = (time) => new Date(time).toLocaleTimeString('en-GB')

// What a message says, as text: bytes that are none in hexadecimal digits.
function payloadText({ payload, payload_base64: base64 }) {
    if (base64 === undefined) return payload ?? ''
    const digits = Array.from(atob(base64), (byte) => byte.charCodeAt(0).toString(16).padStart(2, '0'))
    return digits.join(' ')
}

// For one line.
function line(text, length = 200) {
    const characters = text.slice(0, length).replace(/\s+/g, ' ')
    return text.length > length ? `${characters}…` : characters
}

// Whether MQTT's topic filter covers the topic.
function covers(filter, topic) {
    const [levels, names] = [filter.split('/'), topic.split('/')]
    if (topic.startsWith('$') && /^[#+]/.test(filter)) return false
    for (const [n, level] of levels.entries()) {
        if (level === '#') return true
        if (n >= names.length || (level !== '+' && level !== names[n])) return false
    }
    return levels.length === names.length
}
