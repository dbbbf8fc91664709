// Lines over time, as SVG.

const HEIGHT = 110
const FLOOR = 16

const charts = []

// The time that is pointed at, in all charts; null for now.
let pointed = null

function svg(tag, attributes = {}) {
    const element = document.createElementNS('http://www.w3.org/2000/svg', tag)
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value)
    return element
}

// A chart of `called`, `{name in the history: what it is called}`; `words` makes text of a figure. It goes up to `least`
// where there is less.
function chart(title, called, words, least) {
    const lines = Object.entries(called)
    const legend = make('dl')
    const figures = lines.map(([, label], n) => {
        const value = make('dd')
        legend.append(make('div', { className: `line-${n}` }, make('dt', {}, label), value))
        return value
    })
    const drawing = svg('svg', { role: 'img', tabindex: 0 })
    const top = svg('text', { class: 'axis', x: 0, y: 9 })
    const begin = svg('text', { class: 'axis', x: 0, y: HEIGHT - 3 })
    const end = svg('text', { class: 'axis', y: HEIGHT - 3, 'text-anchor': 'end' })
    const floor = svg('path', { class: 'floor' })
    const areas = lines.map((_, n) => svg('path', { class: `area line-${n}` }))
    const paths = lines.map((_, n) => svg('path', { class: `line line-${n}` }))
    const mark = svg('path', { class: 'mark' })
    drawing.append(floor, ...areas, ...paths, mark, top, begin, end)
    const element = make('article', { className: 'chart' }, make('h2', {}, title), legend, drawing)
    drawing.onpointermove = (event) => {
        const { left, width } = drawing.getBoundingClientRect()
        point(latest() - (1 - (event.clientX - left) / width) * shownSeconds() * 1000)
    }
    drawing.onpointerleave = drawing.onblur = () => point(null)
    drawing.onkeydown = (event) => {
        const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key]
        if (!step) return
        event.preventDefault()
        point(Math.min((pointed ?? latest()) + (step * shownSeconds() * 1000) / 60, latest()))
    }
    const self = { element, draw }
    charts.push(self)
    return self

    function draw() {
        const now = history.at(-1)
        const width = drawing.clientWidth
        if (!now || width === 0) return
        const seconds = shownSeconds()
        const from = now.time - seconds * 1000
        const shown = history.filter(({ time }) => time >= from)
        const most = Math.max(least, ...shown.flatMap((figures) => lines.map(([name]) => figures[name] ?? 0)))
        const limit = words === size ? nice(most / unit(most)) * unit(most) : nice(most)
        const x = (time) => ((time - from) / (seconds * 1000)) * width
        const y = (value) => HEIGHT - FLOOR - (value / limit) * (HEIGHT - FLOOR - 12)
        drawing.setAttribute('viewBox', `0 0 ${width} ${HEIGHT}`)
        floor.setAttribute('d', `M0 ${y(0)}H${width}M0 ${y(limit)}H${width}`)
        top.textContent = words(limit)
        begin.textContent = `${span(seconds)} ago`
        end.textContent = pointed ? clock(pointed) : 'now'
        end.setAttribute('x', width)
        for (const [n, [name]] of lines.entries()) {
            const parts = runs(shown, name, Math.ceil(shown.length / Math.max(width, 1)))
            const points = parts.map((run) =>
                run.map(([time, value]) => `${x(time).toFixed(1)} ${y(value).toFixed(1)}`),
            )
            // A figure alone is a dot.
            paths[n].setAttribute(
                'd',
                points.map((run) => `M${run.join('L')}${run.length > 1 ? '' : 'h0.1'}`).join(''),
            )
            const area = points.map((run, part) => {
                const times = parts[part].map(([time]) => x(time).toFixed(1))
                return `M${times[0]} ${y(0)}L${run.join('L')}L${times.at(-1)} ${y(0)}Z`
            })
            areas[n].setAttribute('d', area.join(''))
        }
        const at = pointed && nearest(shown, pointed)
        mark.setAttribute('d', at ? `M${x(at.time)} 10V${y(0)}` : '')
        for (const [n, [name]] of lines.entries()) write(figures[n], words((at ?? now)[name]))
        const said = lines.map(([, label], n) => `${label} ${figures[n].textContent}`)
        drawing.setAttribute('aria-label', `${title}: ${said.join(', ')}; at most ${words(most)}`)
    }
}

// A little more, and round.
function nice(value) {
    const power = 10 ** Math.floor(Math.log10(value))
    return [1, 1.5, 2, 3, 4, 5, 6, 8, 10]
        .map((factor) => factor * power)
        .find((limit) => limit >= value * 0.999)
}

// What a size is told in: 1 KB is 1,024 bytes.
const unit = (bytes) => 1024 ** Math.max(0, Math.floor(Math.log2(bytes) / 10))

// What is known without a gap, the highest of each `step` seconds.
function runs(shown, name, step) {
    const all = []
    let run = null
    let before = 0
    for (let n = 0; n < shown.length; n += step) {
        const values = shown
            .slice(n, n + step)
            .map((figures) => figures[name])
            .filter((value) => value !== null && value !== undefined)
        const { time } = shown[n]
        if (values.length === 0) run = null
        else {
            // A stream that broke off leaves a gap, too.
            if (!run || time - before > 5_000 * step) all.push((run = []))
            run.push([time, Math.max(...values)])
            before = time
        }
    }
    return all
}

const nearest = (shown, time) =>
    shown.reduce(
        (best, one) => (Math.abs(one.time - time) < Math.abs(best.time - time) ? one : best),
        shown[0],
    )

const latest = () => history.at(-1)?.time ?? 0

function point(time) {
    pointed = time
    drawCharts()
}

// As much as is known, within what is asked for.
function shownSeconds() {
    const known = history.length > 1 ? (history.at(-1).time - history[0].time) / 1000 : 0
    return Math.min(Math.max(Math.ceil(known / 60) * 60, 60), Number(byId('window').value))
}

function drawCharts() {
    if (!byId('view-overview').hidden) for (const { draw } of charts) draw()
}
