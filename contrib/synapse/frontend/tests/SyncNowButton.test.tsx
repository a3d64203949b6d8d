import { act, cleanup, fireEvent, render, screen } from '@testing-library/react'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { SyncNowButton, age } from '../src/components/sync/SyncNowButton'
import type { SyncApi, SyncStatus } from '../src/types/plant3dSync'

const NOW = Date.parse('2026-01-15T14:00:00Z')
const quiet: SyncStatus = {
  last_sync: '2026-01-15T13:57:00Z', running: null, last: null, pending_conflicts: 0, health: 'ok',
  console: 'https://sync.example/', may_start: true,
}
const running = (phase: string | null, status = 'running') => ({
  ...quiet, running: { sync_id: 'r1', status, phase, done: 30, total: 120 },
})

/** A backend that answers what the test says, and notes when it was asked. */
function backend(answer: () => SyncStatus | number) {
  const asked: number[] = []
  const reply = async <T,>(data: T) => {
    asked.push(Date.now())
    const said = answer()
    if (typeof said === 'number') throw Object.assign(new Error('refused'), { response: { status: said } })
    return { data: (data ?? said) as T }
  }
  const api: SyncApi = {
    status: () => reply(undefined as unknown as SyncStatus),
    now: () => reply({ run: { sync_id: 'r1', status: 'queued' } }),
  }
  return { api, asked, started: vi.spyOn(api, 'now') }
}

const pass = (milliseconds: number) => act(() => vi.advanceTimersByTimeAsync(milliseconds))
const button = () => screen.getByRole('button', { name: 'Sync Now' }) as HTMLButtonElement
const shown = () => screen.getByRole('status').textContent?.trim()

beforeEach(() => {
  vi.useFakeTimers({ now: NOW })
})
afterEach(() => {
  cleanup()
  vi.useRealTimers()
})

test('without a project, and where the backend knows no service, there is no button', async () => {
  const { api, asked } = backend(() => 404)
  const { container, rerender } = render(<SyncNowButton api={api} projectId={null} />)
  await pass(5_000)
  expect([container.innerHTML, asked.length]).toEqual(['', 0])
  rerender(<SyncNowButton api={api} projectId="p" />)
  await pass(5_000)
  expect(container.innerHTML).toBe('')
  await pass(600_000)
  expect(asked.length).toBe(1)
})

test('before the first answer the state is unknown and cannot be pressed', async () => {
  const never: SyncApi = { status: () => new Promise(() => undefined), now: () => new Promise(() => undefined) }
  render(<SyncNowButton api={never} projectId="p" />)
  await pass(10)
  expect([shown(), button().disabled]).toEqual(['…', true])
})

test('at rest it tells the age of the last sync, and the age grows', async () => {
  render(<SyncNowButton api={backend(() => quiet).api} projectId="p" />)
  await pass(10)
  expect(shown()).toBe('3 min ago')
  await pass(120_000)
  expect(shown()).toBe('5 min ago')
})

test('ages are whole minutes, hours and days', () => {
  expect(age(null, NOW)).toBe('never synced')
  expect(age('2026-01-15T14:05:00Z', NOW)).toBe('just now')
  expect(age('2026-01-15T09:59:00Z', NOW)).toBe('4 h ago')
  expect(age('2026-01-10T14:00:00Z', NOW)).toBe('5 d ago')
})

test('a press goes queued, running with its phase, done, and back to an age; the page is reloaded once', async () => {
  let said: SyncStatus = quiet
  const { api, started } = backend(() => said)
  const synced = vi.fn()
  render(<SyncNowButton api={api} projectId="p" onSynced={synced} />)
  await pass(10)
  said = running(null, 'queued')
  fireEvent.click(button())
  expect([shown(), button().disabled]).toEqual(['queued', true])
  await pass(7_000)
  expect(shown()).toBe('queued')
  said = running('compare')
  await pass(3_000)
  expect(shown()).toBe('comparing 25 %')
  said = { ...quiet, last_sync: '2026-01-15T14:00:10Z', last: { sync_id: 'r1', status: 'completed' } }
  await pass(3_000)
  expect(shown()).toBe('in step')
  await pass(20_000)
  expect(shown()).toBe('just now')
  expect([started.mock.calls.length, synced.mock.calls.length]).toEqual([1, 1])
})

test('what a person has to decide is a link to where he decides it', async () => {
  render(<SyncNowButton api={backend(() => ({ ...quiet, pending_conflicts: 2 })).api} projectId="p" />)
  await pass(10)
  expect(screen.getByRole('link').textContent).toContain('2 conflicts wait for you')
  expect(screen.getByRole('link').getAttribute('href')).toBe('https://sync.example/')
})

test('a failed run says why and can be tried again', async () => {
  const last = { sync_id: 'r', status: 'failed', error: 'Plant 3D cannot be reached.' }
  render(<SyncNowButton api={backend(() => ({ ...quiet, last })).api} projectId="p" />)
  await pass(10)
  expect(screen.getByRole('link').getAttribute('title')).toBe('Plant 3D cannot be reached.')
  expect(button().disabled).toBe(false)
})

test('a backend that does not answer is offline, and comes back by itself', async () => {
  let said: SyncStatus | number = 503
  render(<SyncNowButton api={backend(() => said).api} projectId="p" />)
  await pass(10)
  expect(shown()).toBe('offline')
  said = quiet
  await pass(61_000)
  expect(shown()).toBe('4 min ago')
})

test('who may only look cannot press', async () => {
  const { api, started } = backend(() => ({ ...quiet, may_start: false }))
  render(<SyncNowButton api={api} projectId="p" />)
  await pass(10)
  fireEvent.click(button())
  await pass(5_000)
  expect([button().disabled, started.mock.calls.length]).toEqual([true, 0])
})

test('however it is pressed and however runs go, there is never more than one request in 3 s', async () => {
  let said: SyncStatus = quiet
  const { api, asked } = backend(() => said)
  render(<SyncNowButton api={api} projectId="p" />)
  const pressed = button()
  for (let round = 0; round < 40; round += 1) {
    await pass(1_100)
    said = round % 7 < 3 ? running('write') : quiet
    for (let press = 0; press < 3; press += 1) fireEvent.click(pressed)
  }
  const gaps = asked.slice(1).map((time, index) => time - asked[index])
  expect(asked.length).toBeGreaterThan(8)
  expect(Math.min(...gaps)).toBeGreaterThanOrEqual(3_000)
})

test('another project, and a page that was left, ask nothing more for the old one', async () => {
  const first = backend(() => running('write'))
  const { rerender, unmount } = render(<SyncNowButton api={first.api} projectId="p" />)
  await pass(10)
  const second = backend(() => quiet)
  rerender(<SyncNowButton api={second.api} projectId="q" />)
  await pass(10_000)
  expect([first.asked.length, second.asked.length, shown()]).toEqual([1, 1, '3 min ago'])
  unmount()
  await pass(600_000)
  expect(second.asked.length).toBe(1)
})
